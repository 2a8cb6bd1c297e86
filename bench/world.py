"""Whom the bench acts for: organizations, each with a key and cases, and the requests that are made of them."""

import json
import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from case_orders.auth import new_key
from case_orders.db import new_id
from case_orders.demo import example

# What wrk.lua puts a fresh idempotency key in the place of, and what ends a request in its file.
KEY, END = "\x1f", "\x1e"

ORGANIZATIONS, CASES, PREPARED = 100, 10_000, 1_000


@dataclass(frozen=True)
class Tenant:
    """An organization, the key it asks with, and its cases."""

    id: str
    key: str
    cases: list[str]


@dataclass(frozen=True)
class World:
    """Everybody whom the bench acts for; every template database holds the same."""

    tenants: list[Tenant]

    @classmethod
    def create(cls) -> Self:
        cases = [new_id() for _ in range(CASES)]
        each = CASES // ORGANIZATIONS
        return cls([Tenant(new_id(), new_key(), cases[n * each : (n + 1) * each]) for n in range(ORGANIZATIONS)])

    def write(self, file: Path) -> None:
        """As JSON, for the programs that seed the templates."""
        file.write_text(json.dumps([asdict(tenant) for tenant in self.tenants]))


def order() -> dict[str, Any]:
    """The contract's own example of a placement."""
    value: dict[str, Any] = json.loads(example.body())
    return value


def placements(tenants: Sequence[Tenant], count: int = PREPARED) -> list[str]:
    """Placements of the documented order on random cases, as they go over the wire."""
    chance = random.Random(5)  # noqa: S311  the same requests in every run
    body = json.dumps(order(), separators=(",", ":"))
    chosen = [chance.choice(tenants) for _ in range(count)]
    return [post(f"/api/v1/cases/{chance.choice(tenant.cases)}", tenant.key, body) for tenant in chosen]


def post(path: str, key: str, body: str) -> str:
    """A POST of JSON under an idempotency key that is yet to be put in."""
    return (
        f"POST {path} HTTP/1.1\r\nHost: bench\r\ncv-api-key: {key}\r\nIdempotency-Key: {KEY}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body.encode())}\r\n\r\n{body}"
    )


def get(path: str, key: str) -> str:
    return f"GET {path} HTTP/1.1\r\nHost: bench\r\ncv-api-key: {key}\r\n\r\n"
