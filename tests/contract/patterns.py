"""What a regular expression matches, by Python's own parser of them."""

import re
from re import _constants as kinds  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]

# Python, ECMA 262, RE2 and Rust read these differently, or not at all.
_NOT_PORTABLE = re.compile(r"\(\?(?!:)|\\[dDwWsSbBAZzpPkKQEuUNR1-9]|[*+?}]\+|\[\[|&&|\[\^?\]")


def is_portable(pattern: str) -> bool:
    """Whether a pattern is anchored at both ends and free of what engines disagree on."""
    if _NOT_PORTABLE.search(pattern):
        return False
    parsed = list(parser.parse(pattern))
    return len(parsed) > 1 and parsed[0] == (kinds.AT, kinds.AT_BEGINNING) and parsed[-1] == (kinds.AT, kinds.AT_END)


def longest_match(pattern: str) -> int | None:
    """The most characters that a whole match can have; None if there is no bound, or no anchors to make it whole."""
    parsed = list(parser.parse(pattern))
    anchored = parsed[:1] == [(kinds.AT, kinds.AT_BEGINNING)] and parsed[-1:] == [(kinds.AT, kinds.AT_END)]
    _, longest = parser.parse(pattern).getwidth()
    return longest if anchored and longest < 100_000 else None
