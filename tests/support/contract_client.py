"""An HTTP client that holds every answer against the contract: status, media type, headers and body.

It is stricter than the contract itself: a field that the contract does not name is a mistake too.
"""

import re
from collections.abc import Iterator
from typing import Any, ClassVar

import httpx2

from case_orders.edge import contract
from case_orders.edge.routing import BASES
from case_orders.edge.schema import Schema


class ContractClient(httpx2.AsyncClient):
    """`operations_answered` collects (operationId, status) of everything this class of client ever saw."""

    operations_answered: ClassVar[set[tuple[str, int]]] = set()

    async def send(self, request: httpx2.Request, **options: Any) -> httpx2.Response:
        response = await super().send(request, **options)
        await response.aread()
        operation = operation_of(request.method, request.url.path)
        if operation is not None:
            self.operations_answered.add((operation.id, response.status_code))
            require_documented(operation, response)
        return response


def operation_of(method: str, path: str) -> contract.Operation | None:
    """The operation that a request is routed to, if any."""
    for operation in contract.operations().values():
        template = re.sub(r"\{\w+\}", "[^/]+", operation.path)
        for base in ("",) if operation.at_root else BASES:
            if operation.method == method.lower() and re.fullmatch(base + template, path):
                return operation
    return None


def require_documented(operation: contract.Operation, response: httpx2.Response) -> None:
    declared = operation.spec["responses"].get(str(response.status_code))
    where = f"{operation.id} {response.status_code}: {response.text[:500]}"
    assert declared, f"undocumented status: {where}"
    for name in declared.get("headers", {}):
        assert _is_optional(name, operation, response) or name in response.headers, f"missing header {name}: {where}"
    if "content" not in declared:
        assert not response.content, f"unexpected body: {where}"
        return
    media_type = response.headers["content-type"]
    assert media_type in declared["content"], f"undocumented media type {media_type}: {where}"
    if media_type == "application/json":
        schema, body = declared["content"][media_type]["schema"], response.json()
        problems = [(p.path, p.message) for p in Schema(schema).problems(body)]
        assert not problems, f"{problems}: {where}"
        undocumented = list(_undocumented(schema, body, ""))
        assert not undocumented, f"undocumented fields {undocumented}: {where}"
        assert body["status"] == response.status_code


def _is_optional(name: str, operation: contract.Operation, response: httpx2.Response) -> bool:
    """Rates are told to whoever has a key, or a signature, that was accepted; other answers share their description."""
    if name.startswith("RateLimit"):
        unknown = response.status_code == 503 or "too_many_failed_" in response.text
        return unknown or not operation.needs_key
    return name == "Idempotency-Replayed"


def _undocumented(schema: dict[str, Any], value: Any, path: str) -> Iterator[str]:
    parts = [schema, *schema.get("allOf", ())]
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from _undocumented(schema.get("items", {}), item, f"{path}/{index}")
    elif isinstance(value, dict) and not any(part.get("additionalProperties") is True for part in parts):
        known = {name: sub for part in parts for name, sub in _properties(part).items()}
        for name, item in value.items():
            if name in known:
                yield from _undocumented(known[name], item, f"{path}/{name}")
            else:
                yield f"{path}/{name}"


def _properties(schema: dict[str, Any]) -> dict[str, Any]:
    own: dict[str, Any] = dict(schema.get("properties", {}))
    for part in schema.get("allOf", ()):
        own |= _properties(part)
    return own
