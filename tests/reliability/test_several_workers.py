"""Several workers on one PostgreSQL, busy with the orders of a few cases."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

from sqlalchemy import text

from case_orders.db import Database
from tests.fulfillment.house import open_house, working
from tests.reliability.deployment import receiving
from tests.support.postgres import ThrowawayPostgres

DEADLOCKS = text("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
ORDERS = 12


async def test_they_do_not_wait_for_each_other_in_a_circle(postgres: ThrowawayPostgres, tmp_path: Path) -> None:
    url = postgres.create_database()
    async with AsyncExitStack() as stack:
        receiver = await stack.enter_async_context(receiving())
        house = await stack.enter_async_context(open_house(url, tmp_path))
        for _ in range(3):
            await stack.enter_async_context(working(house.settings))
        clinics = [house.clinic() for _ in range(5)]
        events = ["ORDER_CREATED", "ORDER_STATUS_CHANGED", "DOCUMENT_STORED"]
        for clinic in clinics:
            await clinic.call("POST", "/webhooks", json={"url": receiver.url, "events": events})
        orders = [(clinic, clinic.place()) for clinic in clinics for _ in range(ORDERS)]
        placed = await asyncio.gather(*(placing for _, placing in orders))
        for (clinic, _), order_id in zip(orders, placed, strict=True):
            await clinic.until(order_id, status="COMPLETED", document_status="STORED")
        await asyncio.sleep(1.5)  # a server's process tells what it counted after a second of rest
    database = Database(url)
    with database.snapshot() as session:
        assert session.connection().execute(DEADLOCKS).scalar_one() == 0
    database.dispose()
