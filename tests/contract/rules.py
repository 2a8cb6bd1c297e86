"""What openapi-spec-validator lets through: each rule takes a contract and yields where it is broken.

A place is a JSON Pointer into the document, with what is wrong there.
"""

import re
from collections.abc import Callable, Iterator
from typing import Any

from openapi_spec_validator import OpenAPIV30SpecValidator

from case_orders.edge.schema import Schema
from tests.contract.patterns import is_portable, longest_match
from tests.contract.spec import (
    Node,
    Spec,
    at,
    follow,
    inlined,
    is_schema,
    nodes,
    operations,
    parameters,
    request_schemas,
    schemas,
)

Faults = Iterator[str]
Rule = Callable[[Spec], Faults]

RULES: list[Rule] = []


def rule(check: Rule) -> Rule:
    RULES.append(check)
    return check


# ---- the document as a whole --------------------------------------------------------------------------------------


@rule
def it_is_openapi(spec: Spec) -> Faults:
    return (f"{error.json_path} {error.message}" for error in OpenAPIV30SpecValidator(spec).iter_errors())


@rule
def refs_stand_alone_and_lead_somewhere(spec: Spec) -> Faults:
    for place, node in nodes(spec):
        if isinstance(node.get("$ref"), str):
            if len(node) > 1:
                yield f"{place}: what stands beside $ref is ignored"
            try:
                at(spec, node["$ref"].removeprefix("#"))
            except (KeyError, ValueError, IndexError):
                yield f"{place}: leads nowhere"


@rule
def every_component_is_used(spec: Spec) -> Faults:
    used = {node["$ref"] for _, node in nodes(spec) if isinstance(node.get("$ref"), str)}
    used |= {f"#/components/securitySchemes/{name}" for need in _needs(spec) for name in need}
    for kind, named in spec["components"].items():
        yield from (f"/components/{kind}/{name}: unused" for name in named if f"#/components/{kind}/{name}" not in used)


def _needs(spec: Spec) -> Iterator[Node]:
    yield from spec["security"]
    for _, _, operation in operations(spec):
        yield from operation.get("security", ())


@rule
def examples_obey_their_schemas(spec: Spec) -> Faults:
    for place, node in nodes(spec):
        schema = node.get("schema", node if is_schema(place) else None)
        if not isinstance(schema, dict):
            continue
        for name, value in _examples(spec, node):
            problems = Schema(inlined(spec, schema)).problems(value)
            yield from (f"{place} example {name}{problem.path}: {problem.message}" for problem in problems)


def _examples(spec: Spec, node: Node) -> Iterator[tuple[str, Any]]:
    if "example" in node:
        yield "", node["example"]
    examples = node.get("examples", {})
    if isinstance(examples, dict):
        yield from ((name, follow(spec, example)["value"]) for name, example in examples.items())


@rule
def links_lead_to_operations_and_name_their_parameters(spec: Spec) -> Faults:
    known = {operation["operationId"]: parameters(spec, item, operation) for _, item, operation in operations(spec)}
    for place, node in nodes(spec):
        if not re.search(r"/links/\w+$", place):
            continue
        declared = known.get(node["operationId"], [])
        names = set(node["parameters"])
        required = {p["name"] for p in declared if p["in"] == "path"}
        if not required <= names <= {p["name"] for p in declared}:
            yield f"{place}: {node['operationId']} does not have these parameters"


# ---- schemas ------------------------------------------------------------------------------------------------------


@rule
def patterns_are_anchored_and_mean_the_same_everywhere(spec: Spec) -> Faults:
    for place, schema in schemas(spec):
        if "pattern" in schema and not is_portable(schema["pattern"]):
            yield f"{place}: the pattern is not anchored or not portable"


@rule
def nothing_is_null(spec: Spec) -> Faults:
    for place, schema in schemas(spec):
        if "nullable" in schema or None in schema.get("enum", ()):
            yield f"{place}: null is not a value here"


@rule
def what_is_required_is_defined(spec: Spec) -> Faults:
    for place, schema in schemas(spec):
        yield from (f"{place}: {n}" for n in set(schema.get("required", ())) - set(schema.get("properties", ())))


@rule
def everything_a_request_carries_is_bounded(spec: Spec) -> Faults:
    for place, schema in request_schemas(spec):
        if _is_unbounded(schema):
            yield f"{place}: has no bounds"


def _is_unbounded(schema: Node) -> bool:
    match schema.get("type"):
        case "string":
            return not (
                "maxLength" in schema or "enum" in schema or longest_match(schema.get("pattern", "")) is not None
            )
        case "array":
            return "maxItems" not in schema
        case "integer" | "number":
            return not {"minimum", "maximum"} <= set(schema)
        case "object" | "boolean":
            return False
        case _:
            return "allOf" not in schema


@rule
def requests_take_no_unknown_fields(spec: Spec) -> Faults:
    """Except custom fields, which are the client's own and bounded in number."""
    for place, schema in request_schemas(spec):
        is_closed = schema.get("additionalProperties") is False
        is_free = place.endswith("/customFields") and "maxProperties" in schema
        if schema.get("type") == "object" and not (is_closed or is_free):
            yield f"{place}: takes unknown fields"


@rule
def every_parameter_and_field_is_described(spec: Spec) -> Faults:
    for place, node in nodes(spec):
        is_field = re.search(r"/properties/\w+$", place)
        is_parameter = "in" in node and "name" in node and "schema" in node
        if (is_field or is_parameter) and not _described(spec, node):
            yield f"{place}: no description"


def _described(spec: Spec, node: Node) -> bool:
    node = follow(spec, node)
    return bool(node.get("description")) or any(_described(spec, part) for part in node.get("allOf", ()))


# ---- operations ---------------------------------------------------------------------------------------------------


@rule
def operations_are_named_tagged_and_explained(spec: Spec) -> Faults:
    tags = {tag["name"] for tag in spec["tags"]}
    for name, _, operation in operations(spec):
        if not re.fullmatch(r"[a-z]+([A-Z][a-z]+)*", operation.get("operationId", "")):
            yield f"{name}: operationId is not in camel case"
        if len(operation.get("tags", ())) != 1 or not set(operation["tags"]) <= tags:
            yield f"{name}: must have one tag that is defined"
        if not operation.get("summary") or not operation.get("description"):
            yield f"{name}: summary or description is missing"


@rule
def operations_document_every_answer(spec: Spec) -> Faults:
    for name, _, operation in operations(spec):
        expected = {"400", "500"}
        if operation.get("security") != []:
            expected |= {"401", "403", "429"}
        if "requestBody" in operation:
            expected |= {"408", "413", "415"}
        if operation.get("operationId") != "getLiveness":
            expected.add("503")
        yield from (f"{name}: {status} is missing" for status in sorted(expected - set(operation["responses"])))
        if not any(status.startswith("2") for status in operation["responses"]):
            yield f"{name}: no good answer"


@rule
def operations_name_the_scope_that_they_need(spec: Spec) -> Faults:
    for name, _, operation in operations(spec):
        if (operation.get("security") != []) != ("x-required-scope" in operation):
            yield f"{name}: x-required-scope and security contradict each other"


@rule
def every_error_shows_an_example_of_its_own_status(spec: Spec) -> Faults:
    for name, _, operation in operations(spec):
        for status, response in operation["responses"].items():
            if status < "400":
                continue
            shown = [
                value for media in follow(spec, response)["content"].values() for _, value in _examples(spec, media)
            ]
            if not shown or any(str(value["status"]) != status for value in shown):
                yield f"{name} {status}: no example, or one of another status"


@rule
def every_answer_carries_the_request_id(spec: Spec) -> Faults:
    for name, _, operation in operations(spec):
        for status, response in operation["responses"].items():
            if "X-Request-Id" not in follow(spec, response).get("headers", {}):
                yield f"{name} {status}: X-Request-Id is missing"


@rule
def answers_to_a_key_tell_its_rates(spec: Spec) -> Faults:
    for name, _, operation in operations(spec):
        if operation.get("security") != []:
            for status, response in operation["responses"].items():
                told = {"RateLimit", "RateLimit-Policy"} <= set(follow(spec, response).get("headers", {}))
                if told != (status != "401"):
                    yield f"{name} {status}: RateLimit or RateLimit-Policy is missing, or must not be there"
