"""What is behind an accepted order, measured: orders per second, CPU per order, waiting time, the cost of a claim.

`python -m bench.pipeline` starts the service as processes on throwaway databases that flush every commit, with a
pharmacy and a webhook receiver that do as little as the protocol allows, and writes `bench/results/pipeline.md`.
"""

import argparse
import asyncio
import base64
import hashlib
import hmac
import json
import os
import random
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import aiohttp
from sqlalchemy import insert
from sqlmodel import func, select

from case_orders import migrations, outbox
from case_orders.db import Database, new_id, now
from case_orders.edge.server import free_port
from case_orders.processes import environment
from case_orders.settings import Settings
from models import Delivery, Job, Order, Webhook
from models.jobs import JobKind
from models.order_states import OrderState
from models.orders import DocumentStatus
from models.webhooks import DeliveryStatus
from tests.support import keys
from tests.support.orders import placement
from tests.support.postgres import ThrowawayPostgres
from tests.support.world import REPORT_SECRET, REQUEST_SECRET, Tenant, populate

RESULTS = Path(__file__).parent / "results" / "pipeline.md"
PDF = b"%PDF-1.7\n" + b"%" * 2000 + b"\n%%EOF\n"
LIVES = {"short": ("COMPLETED",), "full": ("ACKNOWLEDGED", "FILLING", "READY", "SHIPPED", "COMPLETED")}
_ANSWER = b"HTTP/1.1 %d X\r\nContent-Type: %b\r\nContent-Length: %d\r\n\r\n%b"
_JSON = b"application/json"
_SIGNING_KEY = base64.b64decode(REPORT_SECRET.removeprefix("whsec_"))


# The pharmacy: raw HTTP, so that it takes little of the machine from what is measured.


class Exchange(asyncio.Protocol):
    """One connection of the pharmacy and the receiver. It knows just enough HTTP for clients that behave."""

    def __init__(self, pharmacy: "Pharmacy") -> None:
        self.pharmacy = pharmacy
        self.buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while True:
            head, separator, rest = self.buffer.partition(b"\r\n\r\n")
            length = _content_length(head)
            if not separator or len(rest) < length:
                return
            self.buffer = rest[length:]
            status, kind, answer = self.pharmacy.answer(*head.split(b" ", 2)[:2], rest[:length])
            self.transport.write(_ANSWER % (status, kind, len(answer), answer))


def _content_length(head: bytes) -> int:
    _, found, rest = head.lower().partition(b"content-length:")
    return int(rest.split(b"\r\n", 1)[0]) if found else 0


@dataclass
class Pharmacy:
    """Takes every order and reports each state of `life`, the next when the last was taken."""

    port: int
    life: tuple[str, ...]
    connections: int = 8
    arrived: dict[str, float] = field(default_factory=dict)
    reports: "asyncio.Queue[tuple[str, str, int]]" = field(default_factory=asyncio.Queue)

    def answer(self, method: bytes, path: bytes, body: bytes) -> tuple[int, bytes, bytes]:
        match method, path:
            case b"POST", b"/orders":
                order = json.loads(body)
                self.arrived[order["orderId"]] = time.monotonic()
                if self.life:
                    self.reports.put_nowait((order["orderId"], order["callbackUrl"], 0))
                return 202, _JSON, b'{"reference":"RX-1"}'
            case b"GET", b"/arrived":
                return 200, _JSON, json.dumps(self.arrived).encode()
            case b"GET", _:
                return 200, b"application/pdf", PDF
        return 200, _JSON, b"{}"

    async def serve(self) -> None:
        server = await asyncio.get_running_loop().create_server(lambda: Exchange(self), "0.0.0.0", self.port)
        async with server:
            await asyncio.gather(*(self._report() for _ in range(self.connections)))

    async def _report(self) -> None:
        reader = writer = None
        while True:
            order_id, url, step = await self.reports.get()
            parts = urlsplit(url)
            if writer is None or reader is None:
                reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
            writer.write(_post(parts.netloc, parts.path, self._body(order_id, step)))
            head = await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(_content_length(head))
            assert b" 202 " in head, head
            if step + 1 < len(self.life):
                self.reports.put_nowait((order_id, url, step + 1))

    def _body(self, order_id: str, step: int) -> bytes:
        report: dict[str, Any] = {"orderId": order_id, "occurredAt": _stamp(), "status": self.life[step]}
        if report["status"] == "SHIPPED":
            report |= {"trackingNumber": "1Z999", "carrier": "UPS"}
        if report["status"] == "COMPLETED":
            report["documents"] = [{"id": "rx", "url": f"http://127.0.0.1:{self.port}/rx.pdf"}]
        return json.dumps(report).encode()


def _stamp() -> str:
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")


def _post(host: str, path: str, body: bytes) -> bytes:
    message_id, at = new_id(), int(time.time())
    digest = hmac.new(_SIGNING_KEY, f"{message_id}.{at}.".encode() + body, hashlib.sha256).digest()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        f"webhook-id: {message_id}\r\nwebhook-timestamp: {at}\r\n"
        f"webhook-signature: v1,{base64.b64encode(digest).decode()}\r\n\r\n"
    )
    return head.encode() + body


# The service, as processes.


class Process:
    """A child whose CPU time can be read."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def cpu_seconds(self) -> float:
        return cpu_seconds(self.process.pid)


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@asynccontextmanager
async def running(*arguments: str, environ: dict[str, str] | None = None) -> AsyncIterator[Process]:
    """`python -m ARGUMENTS` beside this process."""
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
    """API, workers and pharmacy on a database of their own."""

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

        await asyncio.gather(*(place_some() for _ in range(32)))

    def unfinished(self) -> int:
        """How many orders or messages are still on their way."""
        with self.database.snapshot() as session:
            done = (Order.status == OrderState.COMPLETED) & (Order.document_status == DocumentStatus.STORED)
            orders = session.exec(select(func.count()).select_from(Order).where(~done)).one()
            sent = Delivery.status == DeliveryStatus.DELIVERED
            return orders + session.exec(select(func.count()).select_from(Delivery).where(~sent)).one()


@asynccontextmanager
async def deployed(url: str, folder: Path, workers: int, life: str, tenants: int = 20) -> AsyncIterator[Deployment]:
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
    )
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        await enter(running("bench.pipeline", "--pharmacy", str(pharmacy_port), "--life", life))
        api = await enter(running("case_orders", "serve", "--no-worker", environ=environment(settings)))
        client = await enter(aiohttp.ClientSession())
        await _until_it_answers(client, f"{settings.public_url}/livez")
        owners = _populate(database, tenants, pharmacy_url)
        started = [await enter(running("case_orders", "worker", environ=environment(settings))) for _ in range(workers)]
        for process in started:
            await _until_it_idles(process)
        yield Deployment(database, owners, settings.public_url, pharmacy_url, api, started, client)
    await database.close()


async def _until_it_answers(client: aiohttp.ClientSession, url: str) -> None:
    async with asyncio.timeout(120):
        while True:
            try:
                async with client.get(url):
                    return
            except aiohttp.ClientError:
                await asyncio.sleep(0.05)


async def _until_it_idles(process: Process) -> None:
    """Until it has imported what it needs and found nothing to do."""
    before = -1.0
    while process.cpu_seconds() - before > 0.02 or before < 0.5:
        before = process.cpu_seconds()
        await asyncio.sleep(0.5)


def _populate(database: Database, count: int, pharmacy_url: str) -> list[Tenant]:
    tenants = [Tenant(f"Organization {number}") for number in range(count)]
    events = ["ORDER_CREATED", "ORDER_STATUS_CHANGED", "ORDER_TRACKING_ADDED", "DOCUMENT_STORED"]
    with database.transaction() as session:
        for number, tenant in enumerate(tenants):
            populate(session, tenant, pharmacy_url)
            hook = pharmacy_url.replace("127.0.0.1", f"127.0.0.{number + 1}")  # a host for each customer
            session.add(Webhook(organization_id=tenant.organization_id, url=hook, events=events, secret=REQUEST_SECRET))
    return tenants


@contextmanager
def database_of(kind: str, folder: Path) -> Iterator[tuple[str, Callable[[], float]]]:
    """A database that keeps what it acknowledged; its URL, and the CPU time of its server."""
    keys.begin()
    if kind == "SQLite":
        yield f"sqlite:///{folder}/case-orders.db", lambda: 0.0
        return
    with ThrowawayPostgres(durable=True) as server:
        yield server.create_database(), lambda: sum(cpu_seconds(pid) for pid in server._pids())


# What is measured.


async def throughput(kind: str, workers: int, orders: int, life: str) -> str:
    """All orders are placed while the workers are held; the clock runs from their release to the last message."""
    with tempfile.TemporaryDirectory() as folder, database_of(kind, Path(folder)) as (url, server_cpu):
        async with deployed(url, Path(folder), workers, life) as deployment:
            for worker in deployment.workers:
                worker.signal(signal.SIGSTOP)
            await deployment.place_many(orders)
            before = [worker.cpu_seconds() for worker in deployment.workers]
            api_before, server_before = deployment.api.cpu_seconds(), server_cpu()
            started = time.monotonic()
            for worker in deployment.workers:
                worker.signal(signal.SIGCONT)
            while deployment.unfinished():
                await asyncio.sleep(0.2)
            seconds = time.monotonic() - started
            spent = sum(worker.cpu_seconds() for worker in deployment.workers) - sum(before)
            rest = deployment.api.cpu_seconds() - api_before, server_cpu() - server_before
    per_order = [f"{1000 * cpu / orders:.1f}" for cpu in (spent, *rest)]
    return f"| {kind} | {life} | {workers} | {orders / seconds:.0f} | {' | '.join(per_order)} |"


async def waiting(kind: str, orders: int = 40) -> str:
    """One order at a time on an idle deployment, from the request, or its answer, to the pharmacy."""
    sent, answered = {}, {}
    with tempfile.TemporaryDirectory() as folder, database_of(kind, Path(folder)) as (url, _):
        async with deployed(url, Path(folder), 1, "none") as deployment:
            for _ in range(orders):
                begun = time.monotonic()
                order_id = await deployment.place()
                sent[order_id], answered[order_id] = begun, time.monotonic()
                await asyncio.sleep(random.uniform(0.2, 0.4))
            async with deployment.client.get(f"{deployment.pharmacy_url}/arrived") as answer:
                arrived = json.loads(await answer.read())
    since = [[1000 * (arrived[order] - moment[order]) for order in arrived] for moment in (sent, answered)]
    cells = [f"{statistics.median(times):.0f} | {max(times):.0f}" for times in since]
    return f"| {kind} | {' | '.join(cells)} |"


def claiming(kind: str, waiting_jobs: int, claims: int = 50) -> str:
    """Claims while this many jobs wait in front for one pharmacy that has all that it may have."""
    with tempfile.TemporaryDirectory() as folder, database_of(kind, Path(folder)) as (url, _):
        database = Database(url)
        migrations.upgrade(database.engine)
        tenant = Tenant("Organization")
        with database.transaction() as session:
            populate(session, tenant)
        _fill(database, tenant.organization_id, "crowded", waiting_jobs)
        _fill(database, tenant.organization_id, "", (claims + 1) * 16)
        if not database.is_sqlite:  # as its own housekeeping does after a minute
            with database.transaction() as session:
                session.connection().exec_driver_sql("ANALYZE jobs")
        limits, rounds = outbox.Limits(16, 8), cast(outbox.Rounds, {})
        with database.transaction() as session:
            first = outbox.claim(session, limits, timedelta(minutes=2), rounds)
            under_way = [job for job in first if job.destination]
        times = []
        for _ in range(claims):
            started = time.perf_counter()
            with database.transaction() as session:
                taken = outbox.claim(session, limits, timedelta(minutes=2), rounds, under_way)
                assert taken, "the others must be found"
            times.append(1000 * (time.perf_counter() - started))
        database.dispose()
    return f"| {kind} | {waiting_jobs:,} | {statistics.median(times):.1f} | {max(times):.1f} |"


def _fill(database: Database, organization_id: str, destination: str, count: int) -> None:
    start = now() - timedelta(days=1 if destination else 0)
    for first in range(0, count, 20_000):
        rows = [
            {
                "id": new_id(),
                "organization_id": organization_id,
                "kind": JobKind.SUBMIT_ORDER,
                "subject": new_id(),
                "destination": destination,
                "state": "WAITING",
                "due_at": start,
                "attempt": 0,
                "created_at": start,
            }
            for _ in range(min(20_000, count - first))
        ]
        with database.transaction() as session:
            session.connection().execute(insert(Job), rows)


async def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.pipeline", description=__doc__)
    parser.add_argument("--pharmacy", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--life", choices=[*LIVES, "none"], help=argparse.SUPPRESS)
    parser.add_argument("--only", help="one of throughput, waiting, claiming")
    parser.add_argument("--orders", type=int, default=600)
    parser.add_argument("--kinds", default="SQLite,PostgreSQL")
    parser.add_argument("--workers", default="1,2,4")
    parser.add_argument("--lives", default="short,full")
    arguments = parser.parse_args()
    if arguments.pharmacy:
        await Pharmacy(arguments.pharmacy, LIVES.get(arguments.life, ())).serve()
        return
    report = ["# The pipeline behind an accepted order"]
    for name, (heading, measure) in MEASURES.items():
        if arguments.only in (None, name):
            report += ["", *heading]
            async for row in measure(arguments):
                report.append(row)
                print(row, flush=True)
    if arguments.only is None:
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text("\n".join(report) + "\n")


async def throughputs(arguments: argparse.Namespace) -> AsyncIterator[str]:
    for kind in arguments.kinds.split(","):
        for life in arguments.lives.split(","):
            for workers in map(int, arguments.workers.split(",")):
                if kind != "SQLite" or workers <= 2:
                    yield await throughput(kind, workers, arguments.orders, life)


async def waits(arguments: argparse.Namespace) -> AsyncIterator[str]:
    for kind in arguments.kinds.split(","):
        yield await waiting(kind)


async def claims(arguments: argparse.Namespace) -> AsyncIterator[str]:
    for kind in arguments.kinds.split(","):
        for waiting_jobs in (0, 10_000, 1_000_000):
            yield claiming(kind, waiting_jobs)


MEASURES: dict[str, tuple[list[str], Callable[[argparse.Namespace], AsyncIterator[str]]]] = {
    "throughput": (
        [
            "CPU in ms for an order. A short life has one report and 5 messages, a full one 5 reports and 10 messages.",
            "",
            "| Database | Life | Workers | Orders/s | CPU workers | CPU API | CPU PostgreSQL |",
            "|---|---|---|---|---|---|---|",
        ],
        throughputs,
    ),
    "waiting": (
        [
            "One order at a time, until the pharmacy has it, in ms: from the request, and from its answer.",
            "",
            "| Database | p50 from request | longest | p50 from answer | longest |",
            "|---|---|---|---|---|",
        ],
        waits,
    ),
    "claiming": (
        [
            "A claim behind a crowd of jobs for one pharmacy that has its share, with its commit, in ms.",
            "",
            "| Database | Crowd | p50 | longest |",
            "|---|---|---|---|",
        ],
        claims,
    ),
}


if __name__ == "__main__":
    asyncio.run(main())
