"""What is thrown away, and what is not."""

import asyncio
from collections.abc import Callable
from datetime import timedelta

from sqlmodel import select

from case_orders.db import Database, now
from case_orders.housekeeping import keep_house
from models import IdempotentAnswer
from tests.support.world import Tenant, populate


async def test_an_answer_is_kept_for_two_days_and_then_forgotten(new_database: Callable[[], str]) -> None:
    database, tenant, stop = Database(new_database()), Tenant("us"), asyncio.Event()
    with database.transaction() as session:
        populate(session, tenant)
        for hours in (1, 47, 49):
            session.add(
                IdempotentAnswer(
                    organization_id=tenant.organization_id,
                    operation="performCaseAction",
                    key=f"{hours} hours old",
                    fingerprint="",
                    answer={},
                    created_at=now() - timedelta(hours=hours),
                )
            )
    house = asyncio.create_task(keep_house(database, stop))
    while len(kept := await database.read(lambda session: session.exec(select(IdempotentAnswer.key)).all())) == 3:
        await asyncio.sleep(0.01)
    stop.set()
    await house
    await database.close()
    assert sorted(kept) == ["1 hours old", "47 hours old"]
