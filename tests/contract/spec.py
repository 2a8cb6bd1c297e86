"""An OpenAPI document as a tree: walked, followed along its `$ref`s, taken apart into operations and schemas."""

import re
from collections.abc import Iterator
from typing import Any

from case_orders.edge.contract import METHODS

Spec = dict[str, Any]
Node = dict[str, Any]


def nodes(node: Any, place: str = "") -> Iterator[tuple[str, Node]]:
    """Every object in the document and its place; examples are values, not parts of it."""
    if isinstance(node, dict):
        yield place, node
    for key, child in _children(node):
        if key not in ("example", "value"):
            yield from nodes(child, f"{place}/{str(key).replace('~', '~0').replace('/', '~1')}")


def _children(node: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(node, dict):
        yield from node.items()
    elif isinstance(node, list):
        yield from enumerate(node)


def follow(spec: Spec, node: Any) -> Any:
    """The node itself, or what its `$ref` names."""
    while isinstance(node, dict) and isinstance(reference := node.get("$ref"), str):
        node = at(spec, reference.removeprefix("#"))
    return node


def at(spec: Spec, place: str) -> Any:
    node: Any = spec
    for step in place.split("/")[1:]:
        key = step.replace("~1", "/").replace("~0", "~")
        node = node[int(key)] if isinstance(node, list) else node[key]
    return node


def inlined(spec: Spec, node: Any) -> Any:
    """The node without any `$ref`; the contract's schemas name no schema that names them."""
    node = follow(spec, node)
    if isinstance(node, dict):
        return {key: inlined(spec, child) for key, child in node.items()}
    return [inlined(spec, child) for child in node] if isinstance(node, list) else node


def operations(spec: Spec) -> Iterator[tuple[str, Node, Node]]:
    """The place, the path item and the operation of all that this service answers."""
    for path, item in spec["paths"].items():
        for method in METHODS:
            if method in item:
                yield f"{method} {path}", item, item[method]


def parameters(spec: Spec, item: Node, operation: Node) -> list[Node]:
    return [follow(spec, p) for p in [*item.get("parameters", ()), *operation.get("parameters", ())]]


def is_schema(place: str) -> bool:
    """Whether a schema stands here: named, of a parameter, header or body, or part of another."""
    return bool(re.search(r"(/schema|/items|/components/schemas/\w+|/properties/\w+|/(allOf|oneOf|anyOf)/\d+)$", place))


def schemas(spec: Spec) -> Iterator[tuple[str, Node]]:
    return ((place, node) for place, node in nodes(spec) if is_schema(place))


def request_schemas(spec: Spec) -> Iterator[tuple[str, Node]]:
    """Every schema of a parameter or a request body, with those inside it."""
    for name, item, operation in operations(spec):
        for parameter in parameters(spec, item, operation):
            yield from _with_its_parts(spec, parameter["schema"], f"{name} {parameter['name']}")
        for media in operation.get("requestBody", {}).get("content", {}).values():
            yield from _with_its_parts(spec, media["schema"], name)


def _with_its_parts(spec: Spec, schema: Any, place: str) -> Iterator[tuple[str, Node]]:
    schema = inlined(spec, schema)
    yield place, schema
    if "items" in schema:
        yield from _with_its_parts(spec, schema["items"], f"{place}/items")
    for name, child in schema.get("properties", {}).items():
        yield from _with_its_parts(spec, child, f"{place}/{name}")
    for index, part in enumerate(schema.get("allOf", ())):
        yield from _with_its_parts(spec, part, f"{place}/allOf/{index}")
