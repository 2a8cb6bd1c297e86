"""What a run of schemathesis shows, read from the requests and answers that it recorded (HAR 1.2)."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import orjson

from case_orders.edge import contract
from tests.support.contract_client import operation_of


@dataclass(frozen=True, slots=True)
class Recorded:
    """One request to an operation of the contract, and its answer; status 0 if there was none."""

    operation: contract.Operation
    path: str
    status: int
    body: Any

    @property
    def is_good(self) -> bool:
        return 200 <= self.status < 300


@dataclass(frozen=True, slots=True)
class Link:
    """A link of the contract: what it takes from an answer goes into the path of the next request."""

    source: str
    target: str
    pointer: str


def read(path: Path) -> list[Recorded]:
    """Every recorded request that the contract routes to an operation."""
    return list(_recorded(orjson.loads(path.read_bytes())["log"]["entries"]))


def _recorded(entries: list[dict[str, Any]]) -> Iterator[Recorded]:
    for entry in entries:
        request, response = entry["request"], entry["response"]
        where = urlsplit(request["url"]).path
        operation = operation_of(request["method"], where)
        if operation is not None:
            yield Recorded(operation, where, response["status"], _json(response["content"]))


def _json(content: dict[str, Any]) -> Any:
    return orjson.loads(content["text"]) if content.get("mimeType") == "application/json" else None


def never_succeeded(recorded: list[Recorded]) -> set[str]:
    """The operations without one good answer: a run in which everything answers 401 would be green too."""
    return set(contract.operations()) - {one.operation.id for one in recorded if one.is_good}


def statuses(recorded: list[Recorded]) -> dict[str, Counter[int]]:
    """How often each operation answered with each status."""
    found: dict[str, Counter[int]] = defaultdict(Counter)
    for one in recorded:
        found[one.operation.id][one.status] += 1
    return found


def links() -> Iterator[Link]:
    """Every link of the contract, by what it takes from the body of the answer."""
    for operation in contract.operations().values():
        for response in operation.spec["responses"].values():
            for link in response.get("links", {}).values():
                taken = [e for e in link["parameters"].values() if e.startswith("$response.body#")]
                yield Link(operation.id, link["operationId"], taken[0].removeprefix("$response.body#"))


def never_followed(recorded: list[Recorded]) -> set[Link]:
    """The links that led from no good answer to another good one."""
    good: dict[str, list[Recorded]] = defaultdict(list)
    for one in recorded:
        if one.is_good:
            good[one.operation.id].append(one)
    return {link for link in links() if not _followed(link, good)}


def _followed(link: Link, good: dict[str, list[Recorded]]) -> bool:
    given = {_at(one.body, link.pointer) for one in good[link.source]} - {None}
    return any(step in given for one in good[link.target] for step in one.path.split("/"))


def _at(value: Any, pointer: str) -> Any:
    for step in pointer.split("/")[1:]:
        key: Any = int(step) if isinstance(value, list) and re.fullmatch("[0-9]+", step) else step
        try:
            value = value[key]
        except (KeyError, IndexError):
            return None
    return value
