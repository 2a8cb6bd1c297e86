"""Parameters of path, query and header: read as the contract declares them, and nothing else taken."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl
from uuid import UUID

import inflection

from case_orders.edge.exchange import Scope, header_values
from case_orders.edge.schema import Schema, shown
from case_orders.errors import Problem

# Python's int() also takes " 1", "1_0" and digits of other scripts; a contract does not.
_INTEGER = re.compile(r"-?(0|[1-9][0-9]{0,17})", re.ASCII)


def snake_case(name: str) -> str:
    """`caseId` -> `case_id`, `Idempotency-Key` -> `idempotency_key`."""
    return inflection.underscore(name)


def _percent_encoded(raw: bytes) -> str:
    """A query string; raises ValueError for a `%` that stands for nothing, which `parse_qsl` would take as it is."""
    if re.search(rb"%(?![0-9A-Fa-f]{2})", raw):
        raise ValueError
    return raw.decode("ascii")


def _integer(text: str) -> int | str:
    return int(text) if _INTEGER.fullmatch(text) else text


def _boolean(text: str) -> bool | str:
    return {"true": True, "false": False}.get(text, text)


def _timestamp(text: str) -> datetime:
    return datetime.fromisoformat(text.upper()).astimezone(UTC)


# How text becomes a value of a type; text that cannot stays text, and breaks the schema's `type`.
_READINGS: dict[str, Callable[[str], Any]] = {"integer": _integer, "boolean": _boolean}
# What a handler is given for a value that obeys its schema.
_CONVERSIONS: dict[str | None, Callable[[Any], Any]] = {"uuid": lambda text: str(UUID(text)), "date-time": _timestamp}


@dataclass(frozen=True, slots=True)
class Parameter:
    """One declared parameter, compiled. `argument` is its name for the handler."""

    name: str
    argument: str
    place: str
    required: bool
    schema: Schema
    type: str
    format: str | None
    default: Any

    @classmethod
    def compile(cls, declared: Mapping[str, Any]) -> "Parameter":
        schema = declared["schema"]
        return cls(
            declared["name"],
            snake_case(declared["name"]),
            declared["in"],
            declared.get("required", False),
            Schema(schema),
            schema["type"],
            schema.get("format"),
            schema.get("default"),
        )

    def read(self, given: Sequence[str]) -> tuple[Any, Problem | None]:
        """The value to hand on, and what is wrong with it."""
        if not given:
            missing = Problem(self.name, f"{self.name} is required", "required") if self.required else None
            return self.default, missing
        if len(given) > 1:
            return None, Problem(self.name, f"{self.name} must be given once", "not_unique")
        value = _READINGS.get(self.type, str)(given[0])
        for problem in self.schema.problems(value):
            words = problem.message.removeprefix("body ")
            return None, Problem(self.name, f"{self.name} {words}", problem.code)
        return _CONVERSIONS.get(self.format, lambda same: same)(value), None


class Parameters:
    """All parameters of one operation."""

    def __init__(self, declared: Iterable[Mapping[str, Any]]) -> None:
        self.parameters = [Parameter.compile(parameter) for parameter in declared]
        self.record_ids = {p.argument for p in self.parameters if p.place == "path" and p.format == "uuid"}
        self._query_names = {p.name for p in self.parameters if p.place == "query"}

    def read(self, scope: Scope) -> tuple[dict[str, Any], list[Problem]]:
        """The arguments by their names in snake case, and every problem found."""
        query, problems = self._read_query(scope["query_string"])
        arguments: dict[str, Any] = {}
        for parameter in self.parameters:
            value, problem = parameter.read(self._given(parameter, scope, query))
            if problem is not None:
                problems.append(problem)
            elif value is not None:
                arguments[parameter.argument] = value
        return arguments, problems

    def _given(self, parameter: Parameter, scope: Scope, query: list[tuple[str, str]]) -> list[str]:
        match parameter.place:
            case "path":
                return [str(scope["path_params"][parameter.name])]
            case "header":
                return list(header_values(scope, parameter.name.lower()))
            case _:
                return [value for name, value in query if name == parameter.name]

    def _read_query(self, raw: bytes) -> tuple[list[tuple[str, str]], list[Problem]]:
        try:
            query = parse_qsl(_percent_encoded(raw), keep_blank_values=True, errors="strict", max_num_fields=100)
        except ValueError:
            words = "query must be percent-encoded UTF-8 of at most 100 parameters"
            return [], [Problem("query", words, "wrong_format")]
        unknown = sorted(Counter(name for name, _ in query if name not in self._query_names))
        return query, [Problem(shown(n), f"{shown(n)} is not a parameter here", "not_allowed") for n in unknown]
