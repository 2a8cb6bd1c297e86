"""The whole service in this process, all of it real: API, database, worker, sandbox pharmacy, HTTP between them."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
from sqlmodel import Session, col, select

from case_orders.app import create_app
from case_orders.db import Database, new_id, now
from case_orders.edge.answers import rfc3339
from case_orders.edge.server import listen, make_server
from case_orders.envelope import JSON
from case_orders.pharmacies.sandbox.server import make_app
from case_orders.pharmacies.signing import sign_report
from case_orders.settings import Settings
from case_orders.worker import Worker, open_worker
from models import Document, Event, Job, Order, PharmacyReport
from tests.support.contract_client import ContractClient
from tests.support.fault_proxy import FaultProxy
from tests.support.orders import placement
from tests.support.web import listening
from tests.support.world import REPORT_SECRET, REQUEST_SECRET, Tenant, populate

PACE = 0.01
PATIENCE_SECONDS = 15
_LOOK_AGAIN_SECONDS = 0.02


async def until(condition: Callable[[], bool], what: str = "what was waited for") -> None:
    """Return as soon as `condition` holds; AssertionError if it takes too long."""
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not condition():
                await asyncio.sleep(_LOOK_AGAIN_SECONDS)
    except TimeoutError:
        raise AssertionError(f"{what} did not come about") from None


@asynccontextmanager
async def sandbox(folder: Path, pace: float = PACE) -> AsyncIterator[str]:
    """A sandbox pharmacy; its URL."""
    async with listening(make_app(REQUEST_SECRET, REPORT_SECRET, folder / new_id(), pace)) as url:
        yield url


@asynccontextmanager
async def working(settings: Settings) -> AsyncIterator[Worker]:
    """A worker that works."""
    stop = asyncio.Event()
    async with open_worker(settings) as worker:
        run = asyncio.create_task(worker.run(stop))
        try:
            yield worker
        finally:
            stop.set()
            await run


@dataclass
class House:
    """The service at `url`, its database, and a pharmacy that is quick."""

    settings: Settings
    database: Database
    client: ContractClient
    pharmacy_url: str

    def clinic(self, pharmacy_url: str | None = None) -> "Clinic":
        """A new organization whose pharmacy is the quick one, or the one at `pharmacy_url`."""
        tenant = Tenant(f"Organization {new_id()}")
        with self.database.transaction() as session:
            populate(session, tenant, pharmacy_url or self.pharmacy_url)
        return Clinic(self, tenant, pharmacy_url or self.pharmacy_url)

    @asynccontextmanager
    async def behind_a_proxy(self, clinic: "Clinic") -> AsyncIterator[tuple[FaultProxy, "Clinic"]]:
        """A new organization with the pharmacy of `clinic`, and the proxy on the way there, which fails if told."""
        async with FaultProxy(int(clinic.pharmacy_url.rpartition(":")[2])) as proxy:
            yield proxy, self.clinic(f"http://127.0.0.1:{proxy.port}")


@asynccontextmanager
async def open_house(url: str, folder: Path, **changes: Any) -> AsyncIterator[House]:
    """A service on the database at `url`; `changes` are settings."""
    with listen("127.0.0.1", 0) as listener:
        settings = Settings(
            data_dir=folder,
            database_url=url,
            public_url=f"http://127.0.0.1:{listener.getsockname()[1]}",
            outbound_allow=("127.0.0.0/8",),
            worker_poll_seconds=0.02,
            **changes,
        )
        database = Database(url)
        server = make_server(create_app(settings, database), 10)
        serving = asyncio.create_task(server.serve([listener]))
        await until(lambda: server.started, "the API")
        async with ContractClient(trust_env=False) as client, sandbox(folder) as pharmacy_url, working(settings):
            yield House(settings, database, client, pharmacy_url)
        server.should_exit = True
        await serving
        await database.close()


@dataclass
class Clinic:
    """An organization that orders over HTTP and looks into the database for what became of it."""

    house: House
    tenant: Tenant
    pharmacy_url: str

    async def call(self, method: str, path: str, **options: Any) -> httpx2.Response:
        url = f"{self.house.settings.public_url}/api/v1{path}"
        headers = self.tenant.headers | options.pop("headers", {})
        return await self.house.client.request(method, url, headers=headers, **options)

    async def place(self, drug: str = "drug-456") -> str:
        answer = await self.call("POST", f"/cases/{self.tenant.case_id}", json=placement(drug))
        order_id: str = answer.json()["data"]["order"]["id"]
        return order_id

    async def cancel(self, order_id: str) -> httpx2.Response:
        return await self.call("POST", f"/orders/{order_id}/cancel")

    async def report(self, order_id: str, *, secret: str = REPORT_SECRET, **fields: object) -> httpx2.Response:
        """Say something of an order in the pharmacy's place, signed with `secret`."""
        body = json.dumps({"orderId": order_id, "occurredAt": rfc3339(now())} | fields).encode()
        return await self.call(
            "POST",
            f"/pharmacy-connections/{self.tenant.pharmacy_id}/events",
            content=body,
            headers=sign_report(secret, body, message_id=new_id()) | {"Content-Type": "application/json"},
        )

    async def sandbox_says(self, order_id: str) -> JSON:
        """What became of an order in the sandbox pharmacy."""
        answer = await self.house.client.get(f"{self.pharmacy_url}/sandbox/orders")
        book: dict[str, JSON] = answer.json()["orders"]
        return book[order_id]

    def look(self, order_id: str) -> JSON:
        with self.house.database.transaction() as session:
            return session.get_one(Order, order_id).as_json(session)

    def row(self, order_id: str) -> Order:
        with self.house.database.transaction() as session:
            return session.get_one(Order, order_id)

    def states(self, order_id: str) -> list[str]:
        return [change["status"] for change in self.look(order_id)["statusHistory"]]

    def events(self, order_id: str) -> list[Event]:
        with self.house.database.transaction() as session:
            events = select(Event).where(Event.order_id == order_id).order_by(col(Event.sequence))
            return list(session.exec(events))

    def documents(self, order_id: str) -> list[Document]:
        with self.house.database.transaction() as session:
            return list(session.exec(select(Document).where(Document.order_id == order_id)))

    def outcomes(self, order_id: str) -> list[str | None]:
        """What each report of an order did."""
        with self.house.database.transaction() as session:
            reports = select(PharmacyReport.outcome).where(PharmacyReport.order_id == order_id)
            return list(session.exec(reports.order_by(col(PharmacyReport.received_at))))

    def jobs(self) -> list[Job]:
        """What is still promised to this organization."""
        with self.house.database.transaction() as session:
            mine = select(Job).where(Job.organization_id == self.tenant.organization_id)
            return list(session.exec(mine.order_by(col(Job.id))))

    async def until(self, order_id: str, **wanted: object) -> JSON:
        """The order as soon as its row has these values."""

        def has_come() -> bool:
            row = self.row(order_id)
            return all(getattr(row, name) == value for name, value in wanted.items())

        try:
            await until(has_come)
        except AssertionError:
            jobs = [(job.kind, job.attempt, job.last_error) for job in self.jobs()]
            raise AssertionError(f"{wanted} did not come about: {self.states(order_id)}, {jobs}") from None
        return self.look(order_id)

    async def until_sandbox_says(self, order_id: str, **wanted: object) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not wanted.items() <= (await self.sandbox_says(order_id)).items():
                await asyncio.sleep(_LOOK_AGAIN_SECONDS)

    async def until_settled(self, order_id: str) -> None:
        """When all that the pharmacy has to say has arrived and was applied, and nothing else is under way."""
        await self.until_sandbox_says(order_id, unsentReports=0)
        await until(lambda: all(job.kind == "follow_order" for job in self.jobs()), "an end of all jobs")

    def in_transaction(self, act: Callable[[Session], Any]) -> Any:
        with self.house.database.transaction() as session:
            return act(session)
