"""Strings that a regular expression matches, of a length that is wanted."""

import string
from re import _constants as kinds
from re import _parser as parser
from typing import Any

_CHARACTERS = string.ascii_letters + string.digits + string.punctuation + " "


def match_of(pattern: str, length: int = 0) -> str:
    """A match with `length` characters, or as near to that as this builder comes; the shortest for 0."""
    parsed = parser.parse(pattern)
    return _Builder(max(0, length - parsed.getwidth()[0])).build(parsed)


class _Builder:
    """Repeats what may be repeated while there is length to spare, and takes the shortest way otherwise."""

    def __init__(self, spare: int) -> None:
        self.spare = spare

    def build(self, parsed: Any) -> str:
        return "".join(self._piece(kind, value) for kind, value in parsed)

    def _piece(self, kind: Any, value: Any) -> str:
        if kind is kinds.AT:
            return ""
        if kind is kinds.LITERAL:
            return chr(value)
        if kind is kinds.NOT_LITERAL:
            return _member([(kinds.NEGATE, None), (kinds.LITERAL, value)])
        if kind is kinds.IN:
            return _member(value)
        if kind is kinds.SUBPATTERN:
            return self.build(value[3])
        if kind is kinds.BRANCH:
            return self.build(min(value[1], key=lambda branch: branch.getwidth()[0]))
        assert kind is kinds.MAX_REPEAT, kind
        return self._repeat(*value)

    def _repeat(self, least: int, most: int, body: Any) -> str:
        width = body.getwidth()[0]
        pieces = [self.build(body) for _ in range(least)]
        while len(pieces) < most and 0 < width <= self.spare:
            self.spare -= width
            pieces.append(self.build(body))
        return "".join(pieces)


def _member(items: list[tuple[Any, Any]]) -> str:
    """A character of a class."""
    negated = items[0][0] is kinds.NEGATE
    return next(c for c in _CHARACTERS if any(_holds(ord(c), *item) for item in items) != negated)


def _holds(code: int, kind: Any, value: Any) -> bool:
    if kind is kinds.RANGE:
        return bool(value[0] <= code <= value[1])
    return kind is kinds.LITERAL and code == value
