"""Clients that tools of everyday use generate from the contract: well named, well typed, and they work."""

import re
from pathlib import Path
from typing import Any

import inflection
import pytest
import yaml

from tests.clients.tools import Client

CONTRACT: dict[str, Any] = yaml.safe_load(Path(__file__).parents[2].joinpath("openapi.yaml").read_text())
SCHEMAS: dict[str, dict[str, Any]] = CONTRACT["components"]["schemas"]
MODELS = {name for name, schema in SCHEMAS.items() if schema.keys() & {"properties", "allOf", "enum"}}
OPERATIONS = {
    operation["operationId"]
    for path in CONTRACT["paths"].values()
    for operation in path.values()
    if isinstance(operation, dict) and "operationId" in operation
}

NUMBERED = re.compile(rf"(?:{'|'.join(SCHEMAS | dict.fromkeys(OPERATIONS))})_?\d+")
NAMELESS = re.compile(r"Inline[A-Z]\w*|[A-Z]\w*(?:AllOf|AnyOf|OneOf)\w*|(?:Request|Response)?Body\d+")
DOUBLED = re.compile(r"[A-Za-z]*([A-Z][a-z]{3,})\1\w*")


@pytest.fixture
def names(client: Client) -> set[str]:
    """Every word of the generated code."""
    return set(re.findall(r"[A-Za-z_]\w*", client.source()))


def test_every_model_and_every_call_is_named_as_the_contract_names_it(client: Client, names: set[str]) -> None:
    calls = OPERATIONS if client.tool.language == "typescript" else {inflection.underscore(one) for one in OPERATIONS}
    assert MODELS <= names
    assert calls <= names


def test_no_name_is_an_invention_of_the_generator(names: set[str]) -> None:
    assert not [name for name in names for bad in (NUMBERED, NAMELESS, DOUBLED) if bad.fullmatch(name)]


def test_the_client_and_the_code_that_uses_it_pass_a_type_check(client: Client) -> None:
    for command in client.tool.type_checks:
        client.run(command)


def test_an_integrator_can_work_with_the_client(client: Client, service: dict[str, str]) -> None:
    client.run(client.tool.run, **service)
