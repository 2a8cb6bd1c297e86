"""Several workers on one PostgreSQL, busy with the orders of a few cases."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

from sqlalchemy import text
from sqlmodel import func, select

from case_orders import migrations
from case_orders.db import Database
from models import Order
from models.order_states import OrderState
from tests.fulfillment.house import open_house, working
from tests.reliability.deployment import receiving
from tests.support.postgres import ThrowawayPostgres

DEADLOCKS = text("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
CASES, ORDERS_OF_EACH, MORE_WORKERS = 8, 25, 5
PATIENCE_SECONDS = 120


async def test_they_do_not_wait_for_each_other_in_a_circle(postgres: ThrowawayPostgres, tmp_path: Path) -> None:
    database = Database(url := postgres.create_database())
    migrations.upgrade(database.engine)
    async with AsyncExitStack() as stack:
        receiver = await stack.enter_async_context(receiving())
        house = await stack.enter_async_context(open_house(url, tmp_path))
        for _ in range(MORE_WORKERS):
            await stack.enter_async_context(working(house.settings))
        clinics = [house.clinic() for _ in range(CASES)]
        events = ["ORDER_CREATED", "ORDER_STATUS_CHANGED", "DOCUMENT_STORED"]
        for clinic in clinics:
            await clinic.call("POST", "/webhooks", json={"url": receiver.url, "events": events})
        await asyncio.gather(*(clinic.place() for clinic in clinics for _ in range(ORDERS_OF_EACH)))
        async with asyncio.timeout(PATIENCE_SECONDS):
            while completed(database) < CASES * ORDERS_OF_EACH:
                await asyncio.sleep(0.1)
        await asyncio.sleep(1.5)  # a server's process tells what it counted after a second of rest
    with database.snapshot() as session:
        assert session.connection().execute(DEADLOCKS).scalar_one() == 0
    database.dispose()


def completed(database: Database) -> int:
    with database.snapshot() as session:
        return session.exec(select(func.count()).where(Order.status == OrderState.COMPLETED)).one()
