"""Where a schema of a contract breaks the promises of the one before it; see changes.py for producer and consumer."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import reduce
from typing import Any

from tests.contract.spec import Node

Places = Iterator[str]

# What tells people something and machines nothing.
_REMARKS = {"description", "example", "title", "deprecated", "externalDocs", "x-error-message"}
# Set to true or another value they leave fewer values; absent or false they mean nothing.
_NARROWING = ("format", "pattern", "multipleOf", "uniqueItems", "exclusiveMinimum", "exclusiveMaximum")
_LEAST = ("minimum", "minLength", "minItems", "minProperties")
_MOST = ("maximum", "maxLength", "maxItems", "maxProperties")
_WITH_RULES = {
    *("type", "default", "nullable", "enum", "required", "properties", "items", "additionalProperties"),
    *(*_NARROWING, *_LEAST, *_MOST),
}


@dataclass(frozen=True, slots=True)
class Pair:
    """One schema in the old contract and in the new; `received` by the client if it stands in an answer."""

    place: str
    old: Node
    new: Node
    received: bool

    @property
    def producer(self) -> Node:
        return self.new if self.received else self.old

    @property
    def consumer(self) -> Node:
        return self.old if self.received else self.new


def pairs(place: str, old: Node, new: Node, received: bool) -> Iterator[Pair]:
    """A schema, free of `$ref`, with all that is inside it."""
    old, new = flat(old), flat(new)
    yield Pair(place, old, new, received)
    for name, child in old.get("properties", {}).items():
        if name in new.get("properties", {}):
            yield from pairs(f"{place}/{name}", child, new["properties"][name], received)
    for key in ("items", "additionalProperties"):
        if isinstance(old.get(key), dict) and isinstance(new.get(key), dict):
            yield from pairs(f"{place}/{key}", old[key], new[key], received)


def flat(schema: Node) -> Node:
    """The schema with the parts of its `allOf` made one. Parts that limit the same thing twice cannot be compared."""
    own = {key: value for key, value in schema.items() if key != "allOf" and key not in _REMARKS}
    return reduce(_both, map(flat, schema.get("allOf", ())), own)


def _both(one: Node, other: Node) -> Node:
    twice = {key for key in one if key in other and one[key] != other[key]} - {"required", "properties"}
    if twice or _fields(one) & _fields(other):
        raise ValueError(f"allOf says twice: {', '.join(sorted(twice)) or 'a property'}")
    joined = one | other
    if "required" in joined:
        joined["required"] = [*one.get("required", ()), *other.get("required", ())]
    if "properties" in joined:
        joined["properties"] = one.get("properties", {}) | other.get("properties", {})
    return joined


def _fields(schema: Node) -> set[str]:
    return set(schema.get("properties", ()))


def types_stay(pair: Pair) -> Places:
    if pair.old.get("type") != pair.new.get("type"):
        yield pair.place


def defaults_stay(pair: Pair) -> Places:
    """A default that comes, too, changes what a request without the value means."""
    if pair.old.get("default") != pair.new.get("default"):
        yield pair.place


def fields_stay(pair: Pair) -> Places:
    return (f"{pair.place}/{name}" for name in pair.old.get("properties", {}) if name not in _fields(pair.new))


def required_fields_suit_both(pair: Pair) -> Places:
    """A request needs no field that it did not need; an answer has every field that it always had."""
    missing = set(pair.consumer.get("required", ())) - set(pair.producer.get("required", ()))
    return (f"{pair.place}/{name}" for name in sorted(missing))


def requests_stay_open(pair: Pair) -> Places:
    """Where a request may hold fields of the client's own, it still may, and of any kind that it could."""
    old, new = (side.get("additionalProperties", True) for side in (pair.old, pair.new))
    if not pair.received and new is not True and old != new and not (isinstance(old, dict) and isinstance(new, dict)):
        yield pair.place


def values_stay(pair: Pair) -> Places:
    """A list of values that goes altogether is another matter: then every value may come."""
    left: Any = pair.new.get("enum", pair.old.get("enum", ()))
    return (f"{pair.place} {value}" for value in pair.old.get("enum", ()) if value not in left)


def no_values_come_that_the_consumer_does_not_know(pair: Pair) -> Places:
    if "enum" in pair.consumer and "enum" not in pair.producer:
        yield pair.place
    known: Any = pair.consumer.get("enum", pair.producer.get("enum", ()))
    yield from (f"{pair.place} {value}" for value in pair.producer.get("enum", ()) if value not in known)


def nothing_comes_as_null(pair: Pair) -> Places:
    if pair.producer.get("nullable") and not pair.consumer.get("nullable"):
        yield pair.place


def bounds_hold(pair: Pair) -> Places:
    """No bound of a request gets tighter, none of an answer looser."""
    for key in _LEAST:
        if key in pair.consumer and pair.consumer[key] > pair.producer.get(key, float("-inf")):
            yield f"{pair.place} {key}"
    for key in _MOST:
        if key in pair.consumer and pair.consumer[key] < pair.producer.get(key, float("inf")):
            yield f"{pair.place} {key}"


def forms_hold(pair: Pair) -> Places:
    """A request must have no form that it did not need; an answer keeps the form that it always had."""
    for key in _NARROWING:
        if pair.consumer.get(key) and pair.consumer[key] != pair.producer.get(key):
            yield f"{pair.place} {key}"


def whatever_has_no_rule_stays_as_it_is(pair: Pair) -> Places:
    for key in sorted({*pair.old, *pair.new} - _WITH_RULES):
        if pair.old.get(key) != pair.new.get(key):
            yield f"{pair.place} {key}"


SCHEMA_RULES: list[Callable[[Pair], Places]] = [
    types_stay,
    defaults_stay,
    fields_stay,
    required_fields_suit_both,
    requests_stay_open,
    values_stay,
    no_values_come_that_the_consumer_does_not_know,
    nothing_comes_as_null,
    bounds_hold,
    forms_hold,
    whatever_has_no_rule_stays_as_it_is,
]
