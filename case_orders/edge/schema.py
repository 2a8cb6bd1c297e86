"""JSON Schema as the contract means it, and its errors as sentences that name the field and the rule.

The dialect is that of OpenAPI 3.0: integers are those of draft 4 (`3.0` is not one), patterns are ECMA 262
(`$` is the very end, classes are ASCII). A schema may carry `x-error-message`, the words for a value that
breaks one of its keywords.
"""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Any

import jsonschema_rs
from jsonschema import Draft4Validator, ValidationError
from jsonschema.protocols import Validator
from jsonschema.validators import extend

from case_orders.errors import Problem

Path = Sequence[str | int]


@cache
def _ecma(pattern: str) -> re.Pattern[str]:
    # Python's `$` also matches before a final newline, which would let "94105\n" pass.
    return re.compile(re.sub(r"(?<!\\)\$$", r"\\Z", pattern), re.ASCII)


def _pattern(validator: Validator, pattern: str, instance: Any, schema: Any) -> Iterator[ValidationError]:
    if validator.is_type(instance, "string") and not _ecma(pattern).search(instance):
        yield ValidationError("does not match")


def _within(limit: str, check: Callable[..., Iterator[ValidationError]]) -> Callable[..., Iterator[ValidationError]]:
    """`check`, but not of a value that is too long anyway: a long one could keep the service busy for minutes."""

    def bounded(validator: Validator, rule: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
        if not isinstance(instance, str | list) or len(instance) <= schema.get(limit, len(instance)):
            yield from check(validator, rule, instance, schema)

    return bounded


def _is_uuid(value: str) -> bool:
    return bool(re.fullmatch(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", value))


def _is_timestamp(value: str) -> bool:
    """RFC 3339, with a time zone, and within the years 1 to 9999 in UTC too."""
    if not re.fullmatch(r"[0-9-]{10}[Tt ][0-9:]{8}(\.[0-9]+)?([Zz]|[+-][0-9]{2}:[0-9]{2})", value, re.ASCII):
        return False
    try:
        datetime.fromisoformat(value.upper()).astimezone(UTC)
    except (ValueError, OverflowError):
        return False
    return True


_FORMATS: dict[str, Callable[[str], bool]] = {"uuid": _is_uuid, "date-time": _is_timestamp}


def _format(validator: Validator, name: str, instance: Any, schema: Any) -> Iterator[ValidationError]:
    if validator.is_type(instance, "string") and name in _FORMATS and not _FORMATS[name](instance):
        yield ValidationError("is not of the format")


_RULES_OF_OURS = {
    "format": _format,
    "pattern": _within("maxLength", _pattern),
    "items": _within("maxItems", Draft4Validator.VALIDATORS["items"]),
    "uniqueItems": _within("maxItems", Draft4Validator.VALIDATORS["uniqueItems"]),
}
_Dialect: Any = extend(Draft4Validator, _RULES_OF_OURS)  # type: ignore[no-untyped-call]

_FORMATS_IN_WORDS = {"uuid": "a UUID", "date-time": "an RFC 3339 timestamp"}
_TYPES_IN_WORDS = {
    "object": "an object",
    "array": "an array",
    "string": "a string",
    "integer": "an integer",
    "number": "a number",
    "boolean": "true or false",
}


def counted(number: int, thing: str) -> str:
    return f"{number} {thing}{'' if number == 1 else 's'}"


def _one_of(values: Sequence[Any]) -> str:
    return f"exactly {json.dumps(values[0])}" if len(values) == 1 else f"one of {', '.join(map(str, values))}"


# What a value must be or have, given the keyword that it broke.
_RULES: dict[str, Callable[[Any], str]] = {
    "type": lambda rule: f"must be {_TYPES_IN_WORDS[rule]}",
    "enum": lambda rule: f"must be {_one_of(rule)}",
    "format": lambda rule: f"must be {_FORMATS_IN_WORDS[rule]}",
    "minItems": lambda rule: f"must have at least {counted(rule, 'item')}",
    "maxItems": lambda rule: f"must have at most {counted(rule, 'item')}",
    "minProperties": lambda rule: f"must have at least {counted(rule, 'field')}",
    "maxProperties": lambda rule: f"must have at most {counted(rule, 'field')}",
    "minLength": lambda rule: f"must have at least {counted(rule, 'character')}",
    "maxLength": lambda rule: f"must have at most {counted(rule, 'character')}",
    "minimum": lambda rule: f"must be at least {rule}",
    "maximum": lambda rule: f"must be at most {rule}",
    "uniqueItems": lambda rule: "must not repeat an item",
}
_CODES = {
    "required": "required",
    "additionalProperties": "not_allowed",
    "type": "wrong_type",
    "enum": "not_in_list",
    "pattern": "wrong_format",
    "format": "wrong_format",
    "minLength": "too_short",
    "maxLength": "too_long",
    "minItems": "too_few",
    "maxItems": "too_many",
    "minProperties": "too_few",
    "maxProperties": "too_many",
    "minimum": "too_small",
    "maximum": "too_large",
    "uniqueItems": "not_unique",
}


def _words(error: ValidationError) -> str:
    """The rule that a value broke; the schema's own words are better unless the value is not even of its type."""
    keyword, schema = str(error.validator), error.schema
    if keyword not in ("type", "enum") and isinstance(schema, dict) and "x-error-message" in schema:
        return str(schema["x-error-message"])
    return _RULES[keyword](error.validator_value) if keyword in _RULES else "is not valid"


def field_name(path: Path) -> str:
    """`order.prescriptionItems[0].drugId`, as people write it."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).lstrip(".") or "body"


def pointer(path: Path) -> str:
    """`/order/prescriptionItems/0/drugId`, RFC 6901."""
    return "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in path)


def shown(name: str) -> str:
    """The name of an unknown field: it came with the request, so it is cut short and kept printable."""
    return "".join(c if c.isprintable() else "?" for c in name[:64]) + ("..." if len(name) > 64 else "")


def _problems_of(error: ValidationError) -> Iterator[Problem]:
    path: list[str | int] = list(error.absolute_path)
    instance: Any = error.instance
    rule: Any = error.validator_value
    schema: Any = error.schema
    code = _CODES.get(str(error.validator), "invalid")
    if error.validator == "required":
        for name in rule:
            if name not in instance:
                yield Problem(pointer([*path, name]), f"{name} is required", code)
    elif error.validator == "additionalProperties":
        for name in sorted(set(instance) - set(schema["properties"])):
            unknown = [*path, shown(name)]
            yield Problem(pointer(unknown), f"{field_name(unknown)} is not allowed", code)
    else:
        yield Problem(pointer(path), f"{field_name(path)} {_words(error)}", code)


# The most problems that one answer names; a body can hold tens of thousands.
MOST_PROBLEMS = 100


class Schema:
    """A schema of the contract, compiled twice: to say yes at once, and to explain a no."""

    def __init__(self, schema: dict[str, Any]) -> None:
        self._quick = jsonschema_rs.Draft4Validator(schema, formats=_FORMATS, validate_formats=True, offline=True)
        self.validator = _Dialect(schema)

    def problems(self, value: Any) -> list[Problem]:
        """Every problem of `value`, one for a place, what is missing first; at most 100."""
        if self._quick.is_valid(value):
            return []
        found: dict[str, Problem] = {}
        errors = sorted(self.validator.iter_errors(value), key=lambda e: e.validator != "required")
        for problem in (p for error in errors for p in _problems_of(error)):
            found.setdefault(problem.path, problem)
            if len(found) == MOST_PROBLEMS:
                break
        return list(found.values())
