"""A deployment of several processes on one database: APIs, workers, a pharmacy behind a front, two receivers."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2

from case_orders import migrations
from case_orders.db import Database
from case_orders.edge.server import free_port
from case_orders.processes import environment
from case_orders.settings import Settings
from tests.faults.front import Front
from tests.faults.load import Ledger
from tests.faults.receivers import Receiver, receiving
from tests.reliability.deployment import Program
from tests.support.postgres import ThrowawayPostgres
from tests.support.world import REPORT_SECRET, REQUEST_SECRET, Tenant, populate

LEASE_SECONDS = 4
EVENTS = ["ORDER_CREATED", "ORDER_STATUS_CHANGED", "ORDER_TRACKING_ADDED", "DOCUMENT_STORED"]
SANDBOX = {"CASE_ORDERS_SANDBOX_REQUEST_SECRET": REQUEST_SECRET, "CASE_ORDERS_SANDBOX_REPORT_SECRET": REPORT_SECRET}


@dataclass(frozen=True)
class Place:
    """Where a deployment keeps what it has: `data` may be a disk of its own, `logs` is not on it."""

    database_url: str
    data: Path
    logs: Path
    server: ThrowawayPostgres | None = None


@dataclass
class Fleet:
    """What faults are injected into, and what oracles look at."""

    place: Place
    settings: list[Settings]
    apis: list[Program]
    workers: list[Program]
    pharmacy: Program
    front: Front
    receivers: list[Receiver]
    database: Database
    tenant: Tenant = field(default_factory=lambda: Tenant("Platform"))
    ledger: Ledger = field(default_factory=Ledger)

    @property
    def urls(self) -> list[str]:
        """Where the APIs listen."""
        return [f"http://127.0.0.1:{settings.port}" for settings in self.settings]

    @property
    def service(self) -> list[Program]:
        return [*self.apis, *self.workers]

    async def start(self, programs: Iterable[Program]) -> None:
        """Start these, and return when every API answers."""
        await asyncio.gather(*(program.start() for program in programs))
        await self.ready()

    async def ready(self) -> None:
        async with httpx2.AsyncClient(trust_env=False) as client, asyncio.timeout(120):
            for url in self.urls:
                while not await _answers(client, url):
                    await asyncio.sleep(0.05)

    async def restart(self, environ: Mapping[str, str]) -> None:
        """Stop everything in good order and start it again with another environment."""
        programs = [*self.service, self.pharmacy]
        await asyncio.gather(*(program.stop() for program in programs))
        for program in programs:
            program.environ |= environ
        await self.start(programs)

    async def subscribe(self, receiver: Receiver) -> None:
        """Have a receiver told of everything."""
        async with httpx2.AsyncClient(headers=self.tenant.headers, trust_env=False) as client:
            body = {"url": receiver.url, "events": EVENTS}
            answer = await client.post(f"{self.urls[0]}/api/v1/webhooks", json=body)
            data = answer.json()["data"]
            receiver.webhook_id, receiver.secret = data["webhook"]["id"], data["secret"]

    async def book(self) -> dict[str, dict[str, Any]]:
        """What the pharmacy knows of each order id."""
        async with httpx2.AsyncClient(trust_env=False, timeout=30) as client:
            answer = await client.get(f"{self.front.target}/sandbox/orders")
            book: dict[str, dict[str, Any]] = answer.json()["orders"]
            return book


async def _answers(client: httpx2.AsyncClient, url: str) -> bool:
    try:
        return (await client.get(f"{url}/livez")).is_success
    except httpx2.TransportError:
        return False


def send_signal(program: Program, number: signal.Signals) -> None:
    assert program.process is not None
    os.kill(program.process.pid, number)


@asynccontextmanager
async def deployed(place: Place, *, apis: int = 2, workers: int = 2, bug: str | None = None) -> AsyncIterator[Fleet]:
    """A deployment under way and subscribed to, with or without a bug."""
    pharmacy_port = free_port()
    settings = _settings(place, [free_port() for _ in range(apis)])
    planted = [] if bug is None else ["--bug", bug]
    database = Database(place.database_url)
    migrations.upgrade(database.engine)
    front = Front(f"http://127.0.0.1:{pharmacy_port}")
    async with AsyncExitStack() as stack:
        stack.callback(database.dispose)
        fleet = Fleet(
            place,
            settings,
            [_program(place, f"api-{n}", [*planted, "serve", "--no-worker"], one) for n, one in enumerate(settings)],
            [_program(place, f"worker-{n}", [*planted, "worker"], settings[0]) for n in range(workers)],
            _pharmacy(place, pharmacy_port),
            front,
            [await stack.enter_async_context(receiving(name)) for name in ("first", "second")],
            database,
        )
        await stack.enter_async_context(front.standing())
        with database.transaction() as session:
            populate(session, fleet.tenant, front.url)
        stack.push_async_callback(_end, fleet)
        await fleet.start([*fleet.service, fleet.pharmacy])
        for receiver in fleet.receivers:
            await fleet.subscribe(receiver)
        yield fleet


def _settings(place: Place, ports: list[int]) -> list[Settings]:
    values: dict[str, Any] = {
        "data_dir": place.data,
        "database_url": place.database_url,
        "public_url": f"http://127.0.0.1:{ports[0]}",
        "outbound_allow": "127.0.0.0/8",
        "lease_seconds": LEASE_SECONDS,
        "follow_seconds": 3,
        "log_level": "DEBUG",
    }
    return [Settings(**values, port=port) for port in ports]


def _program(place: Place, name: str, arguments: list[str], settings: Settings) -> Program:
    return Program(arguments, environment(settings), place.logs / f"{name}.log", module="tests.faults.planted")


def _pharmacy(place: Place, port: int) -> Program:
    folder = place.logs / "pharmacy"
    arguments = ["sandbox-pharmacy", "--port", str(port), "--data-dir", str(folder), "--pace", "0.05"]
    return Program(arguments, SANDBOX, place.logs / "pharmacy.log")


async def _end(fleet: Fleet) -> None:
    for program in (*fleet.service, fleet.pharmacy):
        if program.process is not None:
            await program.kill()
