"""A steady load of clients that do what a careful platform does, and the ledger of what they were answered."""

import asyncio
import contextlib
import random
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx2

from case_orders.db import new_id
from tests.support.needles import placement
from tests.support.world import Tenant

CLIENTS = 3
PAUSE_SECONDS = 0.8
PATIENCE_SECONDS = 90
REPEATED, CANCELED = 0.3, 0.15
"""How many of the placements are sent twice, and how many of the orders are to be canceled."""
DRUGS = (
    *("drug-456",) * 12,
    *("drug-duplicate-reports", "drug-out-of-order", "drug-timeout-after-accept"),
    *("drug-reject", "drug-deny-cancel"),
)


@dataclass
class Ledger:
    """What clients asked for and were answered."""

    placed: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    """The ids of the orders that each idempotency key was answered with."""
    drugs: dict[str, str] = field(default_factory=dict)
    """What was ordered, by order id."""
    canceled: set[str] = field(default_factory=set)
    """Orders of which a cancel was accepted."""
    redelivered: list[tuple[str, str, float]] = field(default_factory=list)
    """Receiver, event and moment of every redelivery that was accepted."""
    requests: int = 0
    unanswered: Counter[str] = field(default_factory=Counter)
    surprises: list[str] = field(default_factory=list)
    """Answers that no client should be given."""

    @property
    def order_ids(self) -> set[str]:
        return set().union(*self.placed.values())


class Client:
    """One client. It asks in turns whoever answers, and repeats what was not answered under the same key."""

    def __init__(self, urls: Sequence[str], tenant: Tenant, ledger: Ledger) -> None:
        self.urls = urls
        self.tenant = tenant
        self.ledger = ledger
        self.http = httpx2.AsyncClient(headers=tenant.headers, timeout=45, trust_env=False)

    async def work_until(self, stop: asyncio.Event, drugs: Sequence[str]) -> None:
        async with self.http:
            while not stop.is_set():
                try:
                    async with asyncio.timeout(PATIENCE_SECONDS):
                        await self._turn(random.choice(drugs))
                except TimeoutError:
                    self.ledger.surprises.append(f"no answer within {PATIENCE_SECONDS} s")
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), PAUSE_SECONDS)

    async def _turn(self, drug: str) -> None:
        key, body = new_id(), placement(drug)
        times = 2 if random.random() < REPEATED else 1
        order_id, *_ = await asyncio.gather(*(self._place(key, body) for _ in range(times)))
        if order_id is None:
            return
        self.ledger.drugs[order_id] = drug
        await self.ask("GET", f"/orders/{order_id}", (200,))
        if random.random() < CANCELED or drug == "drug-deny-cancel":
            answer = await self.ask("POST", f"/orders/{order_id}/cancel", (202, 409), key=new_id())
            if answer.status_code == 202:
                self.ledger.canceled.add(order_id)
        if random.random() < REPEATED:
            await self._place(key, body)

    async def _place(self, key: str, body: dict[str, Any]) -> str | None:
        answer = await self.ask("POST", f"/cases/{self.tenant.case_id}", (200,), key=key, json=body)
        if answer.status_code != 200:
            return None
        order_id: str = answer.json()["data"]["order"]["id"]
        self.ledger.placed[key].add(order_id)
        return order_id

    async def ask(
        self, method: str, path: str, expected: tuple[int, ...], key: str | None = None, **options: Any
    ) -> httpx2.Response:
        """The answer, however often it takes to get one."""
        headers = {} if key is None else {"Idempotency-Key": key}
        while True:
            self.ledger.requests += 1
            url = f"{random.choice(self.urls)}/api/v1{path}"
            try:
                answer = await self.http.request(method, url, headers=headers, **options)
            except httpx2.TransportError:
                self.ledger.unanswered["broken off"] += 1
            else:
                if answer.status_code != 503:
                    break
                self.ledger.unanswered["503"] += 1
            await asyncio.sleep(0.1)
        if answer.status_code not in expected:
            code = answer.json().get("code") if "json" in answer.headers.get("Content-Type", "") else None
            self.ledger.surprises.append(f"{method} was answered {answer.status_code} {code}")
        return answer


@asynccontextmanager
async def under_load(
    urls: Sequence[str], tenant: Tenant, ledger: Ledger, drugs: Sequence[str] = DRUGS
) -> AsyncIterator[None]:
    """Clients at work while the block runs; when it is left, all that they asked for has been answered."""
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as clients:
        for _ in range(CLIENTS):
            clients.create_task(Client(urls, tenant, ledger).work_until(stop, drugs))
        try:
            yield
        finally:
            stop.set()
