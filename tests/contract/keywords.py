"""The rules of the contract's request schemas, and for each a value that breaks it and values on its edge.

A rule is one keyword at one place of a request; each field that `required` names is a rule of its own. Values are made
from the schemas alone, so that a rule that is added to the contract is tried without a word here.
"""

import copy
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from case_orders.edge import contract
from tests.contract.matches import match_of
from tests.contract.patterns import longest_match

Node = dict[str, Any]
Place = tuple[str | int, ...]

# What says nothing of a value by itself.
ANNOTATIONS = frozenset({"description", "example", "default", "x-error-message", "properties", "items", "allOf"})
UNKNOWN = "unknownField"


@dataclass(frozen=True, slots=True)
class Rule:
    """One keyword at one place, beside the other `keywords` there; `field` is what a `required` asks for."""

    place: Place
    keyword: str
    keywords: Node
    field: str = ""

    @property
    def value(self) -> Any:
        """What the keyword says."""
        return self.keywords[self.keyword]

    @property
    def blamed(self) -> Place:
        """The place that an answer names when the rule is broken."""
        named = self.field or (UNKNOWN if self.keyword == "additionalProperties" else "")
        return (*self.place, named) if named else self.place

    def __str__(self) -> str:
        return f"{'/'.join(map(str, self.place))} {self.keyword} {self.field}".strip()


def roots() -> dict[str, Node]:
    """The schema of each request body, by operationId, and of each parameter, by operationId and name."""
    found: dict[str, Node] = {}
    for operation in contract.operations().values():
        for parameter in operation.parameters:
            found[f"{operation.id} {parameter['name']}"] = parameter["schema"]
        for media in operation.spec.get("requestBody", {}).get("content", {}).values():
            found[operation.id] = media["schema"]
    return found


def merged(schema: Node) -> Node:
    """The keywords that hold at one place, those of `allOf` among them."""
    parts = [merged(part) for part in schema.get("allOf", ())]
    return {key: value for part in [*parts, schema] for key, value in part.items() if key != "allOf"}


def rules(schema: Node, place: Place = ()) -> Iterator[Rule]:
    """Every rule of a schema and of what lies within it."""
    keywords = merged(schema)
    for keyword, value in keywords.items():
        if keyword == "required":
            yield from (Rule(place, keyword, keywords, field) for field in value)
        elif is_rule(keyword, value):
            yield Rule(place, keyword, keywords)
    for name, child in keywords.get("properties", {}).items():
        yield from rules(child, (*place, name))
    if "items" in keywords:
        yield from rules(keywords["items"], (*place, 0))


def is_rule(keyword: str, value: Any) -> bool:
    return keyword not in ANNOTATIONS and not (keyword == "additionalProperties" and value is True)


# ---- values that obey ---------------------------------------------------------------------------------------------


def sample(schema: Node) -> Any:
    """A value that obeys, with every property there is."""
    keywords = merged(schema)
    match keywords["type"]:
        case "object":
            return {name: sample(child) for name, child in keywords.get("properties", {}).items()}
        case "array":
            return _items(keywords, max(1, keywords.get("minItems", 0)))
        case "string":
            return _text(keywords, keywords.get("minLength", 0))
        case "integer":
            return keywords["minimum"]
        case "boolean":
            return True
    raise AssertionError(keywords["type"])


def _text(keywords: Node, length: int) -> str:
    """A string that obeys, of this length if there is one."""
    if "enum" in keywords:
        return str(keywords["enum"][0])
    match keywords.get("format"):
        case "uuid":
            return "123e4567-e89b-12d3-a456-426614174000" + "0" * max(0, length - 36)
        case "date-time":
            fraction = f".{'0' * (length - 21)}" if length > 21 else ""
            return f"2024-01-15T10:30:00{fraction}Z"
    return match_of(keywords["pattern"], length)


def _items(keywords: Node, number: int) -> list[Any]:
    """So many items; they differ where they must, as far as there are different ones."""
    item = merged(keywords["items"])
    different = item.get("enum", [sample(item)]) if keywords.get("uniqueItems") else [sample(item)]
    return [copy.deepcopy(different[n % len(different)]) for n in range(number)]


def _properties(keywords: Node, number: int) -> Node:
    """An object with so many properties, those that are required first."""
    known = keywords.get("properties", {f"key{n}": {"type": "boolean"} for n in range(number)})
    names = sorted(known, key=lambda name: name not in keywords.get("required", ()))
    return {name: sample(known[name]) for name in names[:number]}


# ---- values that break a rule, and values on its edge -------------------------------------------------------------


def broken(rule: Rule) -> Any:
    """What stands at the rule's place in a request that breaks the rule, and no other where that can be."""
    return _BROKEN[rule.keyword](rule)


def edges(rule: Rule) -> list[Any]:
    """What may stand at the rule's place, and just so."""
    return _EDGES[rule.keyword](rule)


def _unmatched(rule: Rule) -> str:
    """Prefers a match and a newline: `$` of Python takes it."""
    good = _text(rule.keywords, rule.keywords.get("minLength", 0))
    candidates = (good + "\n", good[:-1] + "\n", good[:-1] + "\x7f", "\x7f")
    return next(c for c in candidates if not re.fullmatch(rule.value, c, re.ASCII))


_OTHER_TYPE: Node = {"object": [], "array": {}, "string": 0, "integer": 1.0, "boolean": "true"}
_NO_FORMAT = {"uuid": "123e4567-e89b-12d3-a456-42661417400g", "date-time": "2024-02-30T10:30:00Z"}
_FORMAT_EDGES = {
    "uuid": ["00000000-0000-0000-0000-000000000000", "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF"],
    "date-time": ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z", "2024-02-29t23:59:59-23:59"],
}

_BROKEN: dict[str, Callable[[Rule], Any]] = {
    "type": lambda rule: _OTHER_TYPE[rule.value],
    "enum": lambda rule: f"{rule.value[0]}X",
    "format": lambda rule: _NO_FORMAT[rule.value],
    "pattern": _unmatched,
    "minLength": lambda rule: "a" * (rule.value - 1),
    "maxLength": lambda rule: _text(rule.keywords, rule.value) + "0",
    "minimum": lambda rule: rule.value - 1,
    "maximum": lambda rule: rule.value + 1,
    "minItems": lambda rule: _items(rule.keywords, rule.value - 1),
    "maxItems": lambda rule: _items(rule.keywords, rule.value + 1),
    "uniqueItems": lambda rule: _items(rule.keywords, 1) * 2,
    "minProperties": lambda rule: _properties(rule.keywords, rule.value - 1),
    "maxProperties": lambda rule: _properties(rule.keywords, rule.value + 1),
    "required": lambda rule: {k: v for k, v in sample(rule.keywords).items() if k != rule.field},
    "additionalProperties": lambda rule: {**sample(rule.keywords), UNKNOWN: True},
}


def _exactly(rule: Rule) -> list[Any]:
    return [rule.value]


def _only_required(rule: Rule) -> list[Any]:
    return [_properties(rule.keywords, max(len(rule.value), rule.keywords.get("minProperties", 0)))]


def _shortest_and_longest(rule: Rule) -> list[Any]:
    most = rule.keywords.get("maxLength") or longest_match(rule.value) or 0
    return [_text(rule.keywords, rule.keywords.get("minLength", 0)), _text(rule.keywords, most)]


_EDGES: dict[str, Callable[[Rule], list[Any]]] = {
    "type": lambda rule: [sample(rule.keywords)],
    "enum": lambda rule: rule.value,
    "format": lambda rule: _FORMAT_EDGES[rule.value],
    "pattern": _shortest_and_longest,
    "minLength": lambda rule: [_text(rule.keywords, rule.value)],
    "maxLength": lambda rule: [_text(rule.keywords, rule.value)],
    "minimum": _exactly,
    "maximum": _exactly,
    "minItems": lambda rule: [_items(rule.keywords, rule.value)],
    "maxItems": lambda rule: [_items(rule.keywords, rule.value)],
    "uniqueItems": lambda rule: [_items(rule.keywords, 2)],
    "minProperties": lambda rule: [_properties(rule.keywords, rule.value)],
    "maxProperties": lambda rule: [_properties(rule.keywords, rule.value)],
    "required": _only_required,
    "additionalProperties": lambda rule: [sample(rule.keywords)],
}
