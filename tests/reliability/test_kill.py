"""Killed without warning, again and again, under load: nothing acknowledged is lost and nothing happens twice."""

import asyncio
import contextlib
import hashlib
import os
import random
import signal
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from sqlmodel import Session, col, select

from case_orders import migrations
from case_orders.db import Database, new_id
from case_orders.documents import DocumentStore
from models import Delivery, Document, Event, Job, Order
from models.order_states import OrderState
from models.orders import DocumentStatus
from models.webhooks import DeliveryStatus
from tests.reliability.deployment import Deployment, deployed
from tests.support.orders import documented
from tests.support.postgres import ThrowawayPostgres
from tests.support.world import Tenant, populate

KILLS = 10
CLIENTS = 4
DRAINED_WITHIN_SECONDS = 90


@pytest.fixture(params=["sqlite", "postgresql"])
def durable_database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database that keeps what it acknowledged."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/case-orders.db"
        return
    with ThrowawayPostgres(durable=True) as server:
        yield server.create_database()


async def test_an_acknowledged_order_is_filled_once_documented_and_announced_however_often_we_are_killed(
    durable_database_url: str, tmp_path: Path
) -> None:
    tenant, database = Tenant("Load"), Database(durable_database_url)
    migrations.upgrade(database.engine)
    async with deployed(durable_database_url, tmp_path, lease_seconds=5) as deployment:
        with database.transaction() as session:
            populate(session, tenant, deployment.pharmacy_url)
        await deployment.service.start()
        await deployment.ready()
        await _subscribe(deployment, tenant)
        acknowledged = await _load_while_killing(deployment, tenant)
        await _until_drained(database, len(acknowledged))
        await _require_kept(deployment, database, acknowledged)
    database.dispose()


async def _subscribe(deployment: Deployment, tenant: Tenant) -> None:
    events = ["ORDER_CREATED", "ORDER_STATUS_CHANGED", "ORDER_TRACKING_ADDED", "DOCUMENT_STORED"]
    async with httpx2.AsyncClient(headers=tenant.headers) as client:
        body = {"url": deployment.receiver.url, "events": events}
        answer = await client.post(f"{deployment.url}/api/v1/webhooks", json=body)
        assert answer.status_code == 201


async def _load_while_killing(deployment: Deployment, tenant: Tenant) -> set[str]:
    """The ids of the orders whose placement was answered with 200."""
    stop, acknowledged = asyncio.Event(), set[str]()
    clients = [asyncio.create_task(_place_until(stop, deployment, tenant, acknowledged)) for _ in range(CLIENTS)]
    chance = random.Random(20261124)
    for _ in range(KILLS):
        await asyncio.sleep(chance.uniform(0.2, 0.8))
        await _kill(deployment, chance.choice(["service", "worker", "both"]))
    stop.set()
    await asyncio.gather(*clients)
    return acknowledged


async def _kill(deployment: Deployment, victim: str) -> None:
    workers = deployment.service.children()
    if victim in ("worker", "both"):
        for pid in workers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    if victim in ("service", "both"):
        await deployment.service.kill()
        await deployment.service.start()
        await deployment.ready()


async def _place_until(stop: asyncio.Event, deployment: Deployment, tenant: Tenant, acknowledged: set[str]) -> None:
    """Place one order after the other; a request that broke off is repeated under its key until it is answered."""
    async with httpx2.AsyncClient(headers=tenant.headers, timeout=30) as client:
        while not stop.is_set():
            headers = {"Idempotency-Key": new_id()}
            url = f"{deployment.url}/api/v1/cases/{tenant.case_id}"
            while True:
                try:
                    answer = await client.post(url, json=documented(), headers=headers)
                except httpx2.TransportError:
                    await asyncio.sleep(0.05)
                    continue
                if answer.status_code != 503:
                    break
                await asyncio.sleep(0.05)
            assert answer.status_code == 200, answer.text
            order_id = answer.json()["data"]["order"]["id"]
            assert order_id not in acknowledged
            acknowledged.add(order_id)
            await asyncio.sleep(0.02)


async def _until_drained(database: Database, orders: int) -> None:
    """Until nothing is left to be done but to follow orders that need no following."""

    def is_drained(session: Session) -> bool:
        done = select(Order.id).where(
            Order.status == OrderState.COMPLETED, Order.document_status == DocumentStatus.STORED
        )
        pending = select(Delivery.id).where(Delivery.status != DeliveryStatus.DELIVERED)
        open_jobs = select(Job.id).where(Job.kind != "follow_order")
        return len(session.exec(done).all()) >= orders and not [
            *session.exec(pending.limit(1)),
            *session.exec(open_jobs.limit(1)),
        ]

    async with asyncio.timeout(DRAINED_WITHIN_SECONDS):
        while not await database.read(is_drained):
            await asyncio.sleep(0.2)


async def _require_kept(deployment: Deployment, database: Database, acknowledged: set[str]) -> None:
    book = await deployment.pharmacy_book()
    store = DocumentStore.open(deployment.settings.document_store)
    with database.transaction() as session:
        orders = session.exec(select(Order)).all()
        documents = session.exec(select(Document)).all()
        events = session.exec(select(Event).order_by(col(Event.sequence))).all()
    assert len(acknowledged) > KILLS
    assert {order.id for order in orders} == acknowledged, "acknowledged is stored, each key once"
    assert {order_id: entry["fills"] for order_id, entry in book.items()} == dict.fromkeys(acknowledged, 1)
    assert sorted(document.order_id for document in documents) == sorted(acknowledged), "one document for each order"
    for document in documents:
        assert hashlib.sha256(await store.read(document.storage_key)).hexdigest() == document.sha256
    for order in orders:
        sequences = [event.sequence for event in events if event.order_id == order.id]
        assert sequences == list(range(1, order.last_sequence + 1)), "the events of an order have no gap"
    assert {event.id for event in events} == set(deployment.receiver.messages), "every event was received"
