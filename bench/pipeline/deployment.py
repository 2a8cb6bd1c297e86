"""The service as processes on a database of its own: API, workers, and a pharmacy that is quick."""

import asyncio
import os
import random
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
from sqlmodel import col, func, select

from bench import cpu
from case_orders import migrations
from case_orders.db import Database
from case_orders.edge.server import free_port
from case_orders.processes import environment
from case_orders.settings import Settings
from models import Delivery, Order, Webhook
from models.order_states import OrderState
from models.orders import DocumentStatus
from models.webhooks import DeliveryStatus
from tests.support.orders import placement
from tests.support.world import REQUEST_SECRET, Tenant, populate

_TENANTS = 20
_CLIENTS = 32
_LOOK_AGAIN_SECONDS = 0.2
_PATIENCE_SECONDS = 120
_STARTED_CPU_SECONDS, _IDLE_CPU_SECONDS = 0.5, 0.02
_ALL_EVENTS = ["ORDER_CREATED", "ORDER_STATUS_CHANGED", "ORDER_TRACKING_ADDED", "DOCUMENT_STORED"]


class Process:
    """A child that can be held and let go, and whose CPU time can be read."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    def hold(self) -> None:
        self._process.send_signal(signal.SIGSTOP)

    def let_go(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def cpu_seconds(self) -> float:
        return cpu.seconds(self._process.pid)

    async def idles(self) -> None:
        """Returns when it has imported what it needs, which takes a while, and found nothing to do."""
        before = -1.0
        while self.cpu_seconds() - before > _IDLE_CPU_SECONDS or before < _STARTED_CPU_SECONDS:
            before = self.cpu_seconds()
            await asyncio.sleep(0.5)


@asynccontextmanager
async def running(*arguments: str, environ: dict[str, str] | None = None) -> AsyncIterator[Process]:
    """`python -m ARGUMENTS` beside this process; with BENCH_LOGS it is heard."""
    log = None if os.environ.get("BENCH_LOGS") else asyncio.subprocess.DEVNULL
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", *arguments, env={**os.environ, **(environ or {})}, stdout=log, stderr=log
    )
    try:
        yield Process(process)
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGCONT)
            process.terminate()
        await process.wait()


@dataclass
class Deployment:
    """API, workers and pharmacy, with customers that want every event."""

    database: Database
    tenants: list[Tenant]
    url: str
    pharmacy_url: str
    api: Process
    workers: list[Process]
    client: aiohttp.ClientSession

    async def place(self) -> str:
        tenant = random.choice(self.tenants)
        url = f"{self.url}/api/v1/cases/{tenant.case_id}"
        async with self.client.post(url, json=placement(), headers=tenant.headers) as answer:
            content = await answer.json()
        order_id: str = content["data"]["order"]["id"]
        return order_id

    async def place_many(self, count: int) -> None:
        left = iter(range(count))

        async def place_some() -> None:
            for _ in left:
                await self.place()

        await asyncio.gather(*(place_some() for _ in range(_CLIENTS)))

    async def until_all_is_done(self) -> None:
        """Raises TimeoutError where nothing has moved for long."""
        left, moved = self.unfinished(), time.monotonic()
        while left:
            await asyncio.sleep(_LOOK_AGAIN_SECONDS)
            before, left = left, self.unfinished()
            if left != before:
                moved = time.monotonic()
            elif time.monotonic() - moved > _PATIENCE_SECONDS:
                raise TimeoutError(f"{left} orders and messages do not move")

    def unfinished(self) -> int:
        """How many orders or messages are still on their way."""
        is_completed = (Order.status == OrderState.COMPLETED, Order.document_status == DocumentStatus.STORED)
        orders, messages = select(func.count()).select_from(Order), select(func.count()).select_from(Delivery)
        with self.database.snapshot() as session:
            completed, placed = session.exec(orders.where(*is_completed)).one(), session.exec(orders).one()
            on_their_way = col(Delivery.status) != DeliveryStatus.DELIVERED
            return placed - completed + session.exec(messages.where(on_their_way)).one()


@asynccontextmanager
async def deployed(url: str, folder: Path, workers: int, life: str) -> AsyncIterator[Deployment]:
    """A deployment on the empty database at `url`, whose pharmacy gives orders this `life`; nothing is under way."""
    database = Database(url)
    migrations.upgrade(database.engine)
    port, pharmacy_port = free_port(), free_port()
    pharmacy_url = f"http://127.0.0.1:{pharmacy_port}"
    settings = Settings(
        data_dir=folder,
        database_url=url,
        port=port,
        public_url=f"http://127.0.0.1:{port}",
        outbound_allow=("127.0.0.0/8",),
        # One pharmacy reports for what would be many.
        rate_per_pharmacy="10000000/10 seconds",
    )
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        await enter(running("bench.pipeline.pharmacy", str(pharmacy_port), life))
        api = await enter(running("case_orders", "serve", "--no-worker", environ=environment(settings)))
        client = await enter(aiohttp.ClientSession())
        await _until_it_answers(client, f"{settings.public_url}/livez")
        tenants = _populate(database, pharmacy_url)
        started = [await enter(running("case_orders", "worker", environ=environment(settings))) for _ in range(workers)]
        for process in started:
            await process.idles()
        yield Deployment(database, tenants, settings.public_url, pharmacy_url, api, started, client)
    await database.close()


async def _until_it_answers(client: aiohttp.ClientSession, url: str) -> None:
    async with asyncio.timeout(_PATIENCE_SECONDS):
        while True:
            try:
                async with client.get(url):
                    return
            except aiohttp.ClientError:
                await asyncio.sleep(_LOOK_AGAIN_SECONDS)


def _populate(database: Database, pharmacy_url: str) -> list[Tenant]:
    tenants = [Tenant(f"Organization {number}") for number in range(_TENANTS)]
    with database.transaction() as session:
        for number, tenant in enumerate(tenants):
            populate(session, tenant, pharmacy_url)
            hook = pharmacy_url.replace("127.0.0.1", f"127.0.0.{number + 1}")  # a host for each customer
            session.add(
                Webhook(organization_id=tenant.organization_id, url=hook, events=_ALL_EVENTS, secret=REQUEST_SECRET)
            )
    return tenants
