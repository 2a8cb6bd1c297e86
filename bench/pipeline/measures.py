"""What is measured; each answers with a row of its table."""

import asyncio
import json
import random
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

from sqlalchemy import insert

from bench import databases
from bench.databases import Databases
from bench.pipeline.deployment import Deployment, deployed
from case_orders import claims, migrations
from case_orders.db import Database, new_id, now
from models import Job
from models.jobs import JobKind, JobState
from tests.support import keys
from tests.support.world import Tenant, populate

_FILL_AT_ONCE = 20_000
_LEASE = timedelta(minutes=2)


@contextmanager
def _place(kind: str) -> Iterator[tuple[Databases, Path]]:
    """Databases that keep what they acknowledged, and a folder; both are gone after it."""
    keys.begin()
    with tempfile.TemporaryDirectory() as folder, databases.opened(kind, Path(folder)) as opened:
        yield opened, Path(folder)


async def throughput(kind: str, workers: int, orders: int, life: str) -> str:
    """All orders are placed while the workers are held; the clock runs from their release to the last message."""
    with _place(kind) as (server, folder):
        async with deployed(server.create(), folder, workers, life) as deployment:
            for worker in deployment.workers:
                worker.hold()
            await deployment.place_many(orders)
            before, begun = await _spent(deployment, server), time.monotonic()
            for worker in deployment.workers:
                worker.let_go()
            await deployment.until_all_is_done()
            seconds, after = time.monotonic() - begun, await _spent(deployment, server)
    per_order = [f"{1000 * (now - then) / orders:.1f}" for then, now in zip(before, after, strict=True)]
    return f"| {kind} | {life} | {workers} | {orders / seconds:.0f} | {' | '.join(per_order)} |"


async def _spent(deployment: Deployment, server: Databases) -> tuple[float, float, float]:
    """The CPU seconds of workers, API and database server so far."""
    workers = sum(worker.cpu_seconds() for worker in deployment.workers)
    return workers, deployment.api.cpu_seconds(), server.cpu_seconds()


async def waiting(kind: str, orders: int = 40) -> str:
    """One order at a time on an idle deployment, from the request, or its answer, to the pharmacy."""
    sent, answered = {}, {}
    with _place(kind) as (server, folder):
        async with deployed(server.create(), folder, 1, "none") as deployment:
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


async def claiming(kind: str, crowd: int, count: int = 50) -> str:
    """Claims while a crowd of jobs waits in front for one pharmacy that has all that it may have."""
    with _place(kind) as (server, _):
        database = Database(server.create())
        migrations.upgrade(database.engine)
        tenant = Tenant("Organization")
        with database.transaction() as session:
            populate(session, tenant)
        _fill(database, tenant.organization_id, "crowded", crowd)
        _fill(database, tenant.organization_id, "", (count + 1) * 16)
        if not database.is_sqlite:  # as its own housekeeping does after a minute
            with database.transaction() as session:
                session.connection().exec_driver_sql("ANALYZE jobs")
        times = _claim_again_and_again(database, count)
        await database.close()
    return f"| {kind} | {crowd:,} | {statistics.median(times):.1f} | {max(times):.1f} |"


def _claim_again_and_again(database: Database, count: int) -> list[float]:
    """How long each claim took with its commit, in ms."""
    limits = claims.Limits(16, 8)
    rounds: claims.Rounds = {}
    with database.transaction() as session:
        under_way = [job for job in claims.claim(session, limits, _LEASE, rounds) if job.destination]
    times = []
    for _ in range(count):
        begun = time.perf_counter()
        with database.transaction() as session:
            taken = claims.claim(session, limits, _LEASE, rounds, under_way)
        times.append(1000 * (time.perf_counter() - begun))
        assert taken, "the others must be found"
    return times


def _fill(database: Database, organization_id: str, destination: str, count: int) -> None:
    """Jobs to a destination; those to none are a day younger."""
    moment = now() - timedelta(days=1 if destination else 0)
    for first in range(0, count, _FILL_AT_ONCE):
        rows = [
            {
                "id": new_id(),
                "organization_id": organization_id,
                "kind": JobKind.SUBMIT_ORDER,
                "subject": new_id(),
                "destination": destination,
                "state": JobState.WAITING,
                "due_at": moment,
                "attempt": 0,
                "created_at": moment,
            }
            for _ in range(min(_FILL_AT_ONCE, count - first))
        ]
        with database.transaction() as session:
            session.connection().execute(insert(Job), rows)
