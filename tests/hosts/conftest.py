"""A deployment as it is in production: three hosts, each with an API and a worker, before one PostgreSQL."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx2
import pytest
from sqlmodel import Session, select

from case_orders.db import Database, new_id
from case_orders.edge.server import free_port
from case_orders.processes import environment
from case_orders.settings import Settings
from models import Order
from models.order_states import OrderState
from tests.hosts.balancer import Balancer, balancing
from tests.hosts.network import HERE, NETWORK, Host, hosts
from tests.reliability.deployment import Program
from tests.support.orders import documented
from tests.support.postgres import ThrowawayPostgres
from tests.support.world import REPORT_SECRET, REQUEST_SECRET, Tenant, populate

PORT = 8080


class HostProgram(Program):
    """A `case-orders` process on a host."""

    def __init__(self, host: Host, arguments: list[str], settings: Settings) -> None:
        log = settings.data_dir / f"{host.name}-{arguments[0]}.log"
        super().__init__(arguments, environment(settings), log)
        self.host = host

    async def start(self) -> None:
        command = self.host.command(sys.executable, "-m", "case_orders", *self.arguments)
        with self.log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(*command, env=self.environ, stdout=log, stderr=log)


@dataclass
class Site:
    """What a test drives. Each program of `apis` and `workers` is on the host of the same place in `hosts`."""

    hosts: list[Host]
    settings: Settings
    database: Database
    tenant: Tenant
    book_url: str
    apis: list[HostProgram]
    workers: list[HostProgram]
    balancer: Balancer
    placed: set[str] = field(default_factory=set)
    refused: list[tuple[int, str]] = field(default_factory=list)

    @property
    def urls(self) -> list[str]:
        return [f"http://{host.address}:{PORT}" for host in self.hosts]

    async def place_until(self, stop: asyncio.Event, *, patient: bool) -> None:
        """Place orders and read them back. If `patient`, what was not answered with 200 is repeated under its key."""
        async with httpx2.AsyncClient(headers=self.tenant.headers, timeout=30, trust_env=False) as client:
            base = f"{self.balancer.url}/api/v1"
            while not stop.is_set():
                headers = {"Idempotency-Key": new_id()}
                while True:
                    url = f"{base}/cases/{self.tenant.case_id}"
                    answer = await client.post(url, json=documented(), headers=headers)
                    if answer.status_code == 200 or not patient:
                        break
                    await asyncio.sleep(0.1)
                if answer.status_code != 200:
                    self.refused.append((answer.status_code, answer.text))
                    continue
                self.placed.add(order_id := answer.json()["data"]["order"]["id"])
                read = await client.get(f"{base}/orders/{order_id}")
                if read.status_code != 200 and not patient:
                    self.refused.append((read.status_code, read.text))

    @contextlib.asynccontextmanager
    async def under_load(self, *, patient: bool = False) -> AsyncIterator[None]:
        stop = asyncio.Event()
        clients = [asyncio.create_task(self.place_until(stop, patient=patient)) for _ in range(4)]
        try:
            yield
        finally:
            stop.set()
            await asyncio.gather(*clients)

    async def require_filled_once(self) -> None:
        """Every order that was acknowledged is stored, no other is, and the pharmacy fills each once."""

        def completed(session: Session) -> set[str]:
            return set(session.exec(select(Order.id).where(Order.status == OrderState.COMPLETED)))

        async with asyncio.timeout(120):
            while not self.placed <= await self.database.read(completed):
                await asyncio.sleep(0.2)
        stored = await self.database.read(lambda session: set(session.exec(select(Order.id))))
        async with httpx2.AsyncClient(trust_env=False) as client:
            book = (await client.get(f"{self.book_url}/sandbox/orders")).json()["orders"]
        assert stored == self.placed
        assert {order_id: entry["fills"] for order_id, entry in book.items()} == dict.fromkeys(self.placed, 1)


@pytest.fixture
def three_hosts() -> Iterator[list[Host]]:
    with hosts(3) as built:
        yield built


@pytest.fixture
def database_url(three_hosts: list[Host]) -> Iterator[str]:
    """An empty database that every host reaches."""
    with ThrowawayPostgres(durable=True, address=HERE) as server:
        yield server.create_database()


@pytest.fixture
def settings(database_url: str, tmp_path: Path) -> Settings:
    return Settings(
        data_dir=tmp_path,
        database_url=database_url,
        host="0.0.0.0",
        port=PORT,
        public_url=f"http://{HERE}:{free_port()}",
        outbound_allow=(NETWORK,),
        link_secret="x" * 32,
        drain_seconds=5,
        lease_seconds=5,
    )


async def migrate(host: Host, settings: Settings) -> tuple[int | None, str]:
    """Exit code and words of `case-orders migrate` on a host."""
    command = host.command(sys.executable, "-m", "case_orders", "migrate")
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *command, env={**os.environ, **environment(settings)}, stdout=pipe, stderr=pipe
    )
    out, err = await process.communicate()
    return process.returncode, (out + err).decode()


@pytest.fixture
async def site(three_hosts: list[Host], settings: Settings, tmp_path: Path) -> AsyncIterator[Site]:
    code, words = await migrate(three_hosts[0], settings)
    assert code == 0, words
    database, tenant = Database(settings.database_url), Tenant("Clinic")
    pharmacy_port = free_port()
    secrets = {"CASE_ORDERS_SANDBOX_REQUEST_SECRET": REQUEST_SECRET, "CASE_ORDERS_SANDBOX_REPORT_SECRET": REPORT_SECRET}
    arguments = ["sandbox-pharmacy", "--host", "0.0.0.0", "--port", str(pharmacy_port), "--data-dir", str(tmp_path)]
    pharmacy = Program([*arguments, "--pace", "0.05"], secrets, tmp_path / "pharmacy.log")
    with database.transaction() as session:
        populate(session, tenant, f"http://{HERE}:{pharmacy_port}")
    apis = [HostProgram(host, ["serve", "--no-worker"], settings) for host in three_hosts]
    workers = [HostProgram(host, ["worker"], settings) for host in three_hosts]
    programs = [pharmacy, *apis, *workers]
    urls = [f"http://{host.address}:{PORT}" for host in three_hosts]
    async with balancing(HERE, int(settings.public_url.rpartition(":")[2]), urls) as balancer:
        try:
            await asyncio.gather(*(program.start() for program in programs))
            await balancer.until_ready(*urls)
            yield Site(
                three_hosts, settings, database, tenant, f"http://127.0.0.1:{pharmacy_port}", apis, workers, balancer
            )
        finally:
            for program in programs:
                if program.process is not None and program.process.returncode is None:
                    program.process.send_signal(signal.SIGKILL)
                    await program.process.wait()
    await database.close()
