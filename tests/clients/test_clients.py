"""Clients that tools of everyday use generate from the contract: well named, well typed, and they work."""

import json
import re
from pathlib import Path
from typing import Any

import inflection
import yaml

from tests.clients.tools import Client

HERE = Path(__file__).parent
DOCUMENTATION = (HERE / "../../docs/clients.md").read_text()
CONTRACT: dict[str, Any] = yaml.safe_load((HERE / "../../openapi.yaml").read_text())
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


def test_every_model_and_every_call_is_named_as_the_contract_names_it(client: Client) -> None:
    names = client.names()
    calls = OPERATIONS if client.tool.language == "typescript" else {inflection.underscore(one) for one in OPERATIONS}
    assert not MODELS - names
    assert not calls - names


def test_no_name_is_an_invention_of_the_generator(client: Client) -> None:
    assert not [name for name in client.names() for bad in (NUMBERED, NAMELESS, DOUBLED) if bad.fullmatch(name)]


def test_the_client_and_the_code_that_uses_it_pass_a_type_check(client: Client) -> None:
    for command in client.tool.type_checks:
        client.run(command)


def test_an_integrator_can_work_with_the_client(client: Client, service: dict[str, str]) -> None:
    client.run(client.tool.run, **service)


def test_the_documentation_names_the_command_that_is_run(client: Client) -> None:
    row = next(line for line in DOCUMENTATION.splitlines() if f"tests/clients/{client.tool.name}/" in line)
    command = row.split("|")[2].strip().strip("`").split()
    assert tuple(command) == client.tool.generate[: len(command)]


def test_the_documentation_names_the_versions_that_are_tested() -> None:
    packages = json.loads((HERE / "typescript/package.json").read_text())["devDependencies"]
    for package in ("openapi-typescript", "openapi-fetch", "@hey-api/openapi-ts", "orval", "zod"):
        assert re.search(rf"{package}\W.*?\b{re.escape(packages[package])}\b", DOCUMENTATION, re.IGNORECASE)
    requirements = (HERE / "python/requirements.txt").read_text()
    for package in ("openapi-generator", "openapi-python-client"):
        version = re.search(rf"^{package}\S*==(\S+)$", requirements, re.MULTILINE)
        assert version is not None
        assert re.search(rf"{package}\W.*?\b{re.escape(version[1])}\b", DOCUMENTATION)
