"""What a regular expression matches, by Python's own parser of them."""

import re
import string
from re import _constants as kinds
from re import _parser as parser
from typing import Any

# Far more than any string of the contract; the parser counts an endless repetition as some billions.
_UNBOUNDED = 100_000

# Groups that look around, name or set flags, and an empty class, of which ECMA 262 thinks otherwise than Python.
_NOT_PORTABLE = re.compile(r"\(\?(?!:)|\[\^?\]")
# Escapes that Python, ECMA 262 and Rust read alike; \d, \w, \s and \b are not among them. RE2 writes \u as \x{}, and
# what reads contracts in Go translates it.
_ESCAPES = frozenset("nrtfvxu" + string.punctuation)


def is_portable(pattern: str) -> bool:
    """Whether a pattern is anchored at both ends and free of what engines disagree on."""
    if _NOT_PORTABLE.search(pattern) or not set(re.findall(r"\\(.)", pattern)) <= _ESCAPES:
        return False
    try:
        parsed = parser.parse(pattern)
    except FutureWarning:  # a class that other engines take for an intersection or a difference
        return False
    return _is_anchored(parsed) and "POSSESSIVE" not in repr(parsed)


def longest_match(pattern: str) -> int | None:
    """The most characters that a whole match can have; None if there is no bound, or no anchors to make it whole."""
    parsed = parser.parse(pattern)
    longest: int = parsed.getwidth()[1]
    return longest if _is_anchored(parsed) and longest < _UNBOUNDED else None


def _is_anchored(parsed: Any) -> bool:
    return list(parsed[:1]) == [(kinds.AT, kinds.AT_BEGINNING)] and list(parsed[-1:]) == [(kinds.AT, kinds.AT_END)]
