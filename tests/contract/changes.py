"""Where a contract breaks the promises of the one before it: each rule takes the two and yields the places.

A schema has a producer and a consumer. Of a request the client of the old contract produces and the new service
consumes; of an answer, and of what is posted to a webhook, it is the other way round. What the producer may say, the
consumer must take. Clients must ignore fields that they do not know, so an answer may gain one; a word that they do
not know they refuse, as generated clients do, so a list of values in an answer may not grow.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from case_orders.edge.contract import METHODS
from tests.contract.schema_changes import SCHEMA_RULES, Pair, pairs
from tests.contract.spec import Node, Spec, inlined

Places = Iterator[str]


@dataclass(frozen=True, slots=True)
class Break:
    """A promise that is not kept: which, and where."""

    rule: str
    place: str


@dataclass(frozen=True, slots=True)
class Operations:
    """One operation in the old contract and in the new."""

    place: str
    old: Node
    new: Node
    called_by_us: bool

    def shared(self, *keys: str) -> Iterator[tuple[str, Any, Any]]:
        """What both have under the last of `keys`, by name."""
        old, new = _within(self.old, keys), _within(self.new, keys)
        return ((name, old[name], new[name]) for name in old if name in new)

    def gone(self, *keys: str) -> Iterator[str]:
        """What only the old one has there."""
        new = _within(self.new, keys)
        return (name for name in _within(self.old, keys) if name not in new)


def _within(node: Node, keys: tuple[str, ...]) -> Node:
    for key in keys:
        node = node.get(key, {})
    return node


def breaks(old: Spec, new: Spec) -> list[Break]:
    """Every promise of the old contract that the new one does not keep."""
    old, new = inlined(old, old), inlined(new, new)
    found = [Break(rule.__name__, place) for rule in CONTRACT_RULES for place in rule(old, new)]
    for both in _operations(old, new):
        found += [Break(rule.__name__, place) for rule in OPERATION_RULES for place in rule(both)]
        for pair in _schemas(both):
            found += [Break(rule.__name__, place) for rule in SCHEMA_RULES for place in rule(pair)]
    return found


def _operations(old: Spec, new: Spec) -> Iterator[Operations]:
    after = _by_place(new)
    for place, before in _by_place(old).items():
        if place in after:
            both = Operations(place, before, after[place], called_by_us=False)
            yield both
            yield from _callbacks(both)


def _callbacks(both: Operations) -> Iterator[Operations]:
    for name, old, new in both.shared("callbacks"):
        before, after = _by_place({"paths": old}), _by_place({"paths": new})
        for place in before:
            if place in after:
                yield Operations(f"{both.place} {name} {place}", before[place], after[place], called_by_us=True)


def _by_place(spec: Spec) -> dict[str, Node]:
    """The operations by method and path, with what they inherit; parameters by where and what they are."""
    found = {}
    for path, item in spec["paths"].items():
        for method in (m for m in METHODS if m in item):
            declared = [*item.get("parameters", ()), *item[method].get("parameters", ())]
            parameters = {f"{p['in']} parameter {p['name']}": p for p in declared}
            inherited = {"security": spec.get("security", []), "servers": item.get("servers", [])}
            found[f"{method} {path}"] = inherited | item[method] | {"parameters": parameters}
    return found


def _schemas(both: Operations) -> Iterator[Pair]:
    asked, answered = both.called_by_us, not both.called_by_us
    for name, old, new in both.shared("parameters"):
        yield from pairs(f"{both.place} {name}", old["schema"], new["schema"], received=asked)
    for media, old, new in both.shared("requestBody", "content"):
        yield from pairs(f"{both.place} {media}", old["schema"], new["schema"], received=asked)
    for status, _, _ in both.shared("responses"):
        for name, old, new in both.shared("responses", status, "headers"):
            yield from pairs(f"{both.place} {status} {name}", old["schema"], new["schema"], received=answered)
        for media, old, new in both.shared("responses", status, "content"):
            yield from pairs(f"{both.place} {status} {media}", old["schema"], new["schema"], received=answered)


# ---- the contract as a whole --------------------------------------------------------------------------------------


def servers_stay(old: Spec, new: Spec) -> Places:
    urls = {server["url"] for server in new["servers"]}
    return (server["url"] for server in old["servers"] if server["url"] not in urls)


def operations_stay(old: Spec, new: Spec) -> Places:
    after = _by_place(new)
    return (place for place in _by_place(old) if place not in after)


def named_schemas_stay(old: Spec, new: Spec) -> Places:
    """Generated clients name their classes after them."""
    return (name for name in old["components"]["schemas"] if name not in new["components"]["schemas"])


def keys_stay_where_they_are_sent(old: Spec, new: Spec) -> Places:
    for name, scheme in old["components"]["securitySchemes"].items():
        other = new["components"]["securitySchemes"].get(name, {})
        if any(scheme.get(key) != other.get(key) for key in ("type", "in", "name", "scheme")):
            yield name


CONTRACT_RULES: list[Callable[[Spec, Spec], Places]] = [
    servers_stay,
    operations_stay,
    named_schemas_stay,
    keys_stay_where_they_are_sent,
]

# ---- operations ---------------------------------------------------------------------------------------------------


def operations_keep_their_names(both: Operations) -> Places:
    """Generated clients name their methods after operationId and their classes after the tag."""
    if any(both.old.get(key) != both.new.get(key) for key in ("operationId", "tags")):
        yield both.place


def operations_ask_for_no_more_rights(both: Operations) -> Places:
    if both.old["security"] != both.new["security"]:
        yield f"{both.place} security"
    if both.new.get("x-required-scope") not in (None, both.old.get("x-required-scope")):
        yield f"{both.place} x-required-scope"


def operations_stay_on_their_servers(both: Operations) -> Places:
    if {server["url"] for server in both.old["servers"]} - {server["url"] for server in both.new["servers"]}:
        yield both.place


def callbacks_stay(both: Operations) -> Places:
    yield from (f"{both.place} {name}" for name in both.gone("callbacks"))
    for name, old, new in both.shared("callbacks"):
        after = _by_place({"paths": new})
        yield from (f"{both.place} {name} {at}" for at in _by_place({"paths": old}) if at not in after)


def parameters_stay(both: Operations) -> Places:
    return (f"{both.place} {name}" for name in both.gone("parameters"))


def parameters_keep_their_style(both: Operations) -> Places:
    for name, old, new in both.shared("parameters"):
        if any(old.get(key) != new.get(key) for key in ("style", "explode", "allowReserved", "content")):
            yield f"{both.place} {name}"


def nothing_more_is_asked_for(both: Operations) -> Places:
    """Of a callback we are the ones that send, so there nothing less may come."""
    asked, given = (both.old, both.new) if both.called_by_us else (both.new, both.old)
    for name, parameter in asked["parameters"].items():
        if parameter.get("required") and not given["parameters"].get(name, {}).get("required"):
            yield f"{both.place} {name}"
    if _within(asked, ("requestBody",)).get("required") and not _within(given, ("requestBody",)).get("required"):
        yield f"{both.place} body"


def bodies_stay(both: Operations) -> Places:
    if "requestBody" in both.old and "requestBody" not in both.new:
        yield f"{both.place} body"


def media_types_stay(both: Operations) -> Places:
    if "requestBody" in both.new:
        yield from (f"{both.place} {media}" for media in both.gone("requestBody", "content"))
    for status, _, _ in both.shared("responses"):
        yield from (f"{both.place} {status} {media}" for media in both.gone("responses", status, "content"))


def statuses_stay(both: Operations) -> Places:
    return (f"{both.place} {status}" for status in both.gone("responses"))


def headers_of_answers_stay(both: Operations) -> Places:
    for status, _, _ in both.shared("responses"):
        yield from (f"{both.place} {status} {name}" for name in both.gone("responses", status, "headers"))


OPERATION_RULES: list[Callable[[Operations], Places]] = [
    operations_keep_their_names,
    operations_ask_for_no_more_rights,
    operations_stay_on_their_servers,
    callbacks_stay,
    parameters_stay,
    parameters_keep_their_style,
    nothing_more_is_asked_for,
    bodies_stay,
    media_types_stay,
    statuses_stay,
    headers_of_answers_stay,
]
