"""openapi.yaml, read once, with its `$ref`s followed."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from case_orders.edge.schema import Schema

# libyaml reads it ten times as fast, where PyYAML was built with it.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")


def path() -> Path:
    """Where the contract lies: beside this package when installed, at the top of the tree when checked out."""
    installed = Path(__file__).parents[1] / "openapi.yaml"
    return installed if installed.exists() else Path(__file__).parents[2] / "openapi.yaml"


@cache
def text() -> bytes:
    return path().read_bytes()


@cache
def document() -> dict[str, Any]:
    """The contract as it is written, `$ref`s and all. Treat it as read-only."""
    loaded: dict[str, Any] = yaml.load(text(), Loader=_LOADER)  # noqa: S506  a safe one
    return loaded


@cache
def resolved() -> dict[str, Any]:
    """The contract with each `$ref` replaced by what it names; equal parts are one object. Treat it as read-only."""
    followed: dict[str, Any] = {}

    def resolve(node: Any) -> Any:
        if isinstance(node, list):
            return [resolve(item) for item in node]
        if not isinstance(node, dict):
            return node
        if "$ref" not in node:
            return {key: resolve(value) for key, value in node.items()}
        reference = node["$ref"]
        if reference not in followed:
            target: Any = document()
            for step in reference.removeprefix("#/").split("/"):
                target = target[step]
            followed[reference] = resolve(target)
        return followed[reference]

    whole: dict[str, Any] = resolve(document())
    return whole


@cache
def key_header() -> str:
    """The request header that carries an API key, in lower case."""
    name: str = document()["components"]["securitySchemes"]["ApiKey"]["name"]
    return name.lower()


@cache
def component(name: str) -> Schema:
    """A named schema of the contract, for what reaches us by another way than a request."""
    return Schema(resolved()["components"]["schemas"][name])


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation of the contract."""

    id: str
    method: str
    path: str
    tag: str
    spec: dict[str, Any]
    parameters: list[dict[str, Any]]
    at_root: bool

    @property
    def scope(self) -> str | None:
        """What an API key must be allowed to do; None where no key is needed."""
        return self.spec.get("x-required-scope")

    @property
    def shows_health_data(self) -> bool:
        return bool(self.spec.get("x-health-data", False))

    @property
    def is_audited(self) -> bool:
        """Whether its calls go into the audit trail: all that write, and of those that read, what shows health data."""
        return self.method != "get" or self.shows_health_data

    @property
    def needs_key(self) -> bool:
        return bool(self.spec.get("security", resolved()["security"]))


@cache
def operations() -> dict[str, Operation]:
    """Every operation by its operationId."""
    return {operation.id: operation for operation in _operations()}


def _operations() -> Iterator[Operation]:
    for template, item in resolved()["paths"].items():
        for method in METHODS:
            if method in item:
                spec = item[method]
                parameters = [*item.get("parameters", ()), *spec.get("parameters", ())]
                tag = spec["tags"][0]
                yield Operation(spec["operationId"], method, template, tag, spec, parameters, "servers" in item)
