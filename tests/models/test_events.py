"""Events are numbered within their case when they are written, however many are written at once."""

import asyncio

import pytest
from sqlmodel import Session, col, select

from case_orders.db import Database
from models import Case, Event
from tests.support.world import Tenant


def event_of(us: Tenant, case_id: str | None) -> Event:
    return Event(organization_id=us.organization_id, case_id=case_id, type="ORDER_CREATED", data={})


def positions(session: Session, case_id: str) -> list[int | None]:
    return list(session.exec(select(Event.position).where(Event.case_id == case_id).order_by(col(Event.id))))


@pytest.mark.parametrize("at_once", [1, 20])
async def test_events_of_a_case_are_counted_from_one_in_their_order(
    database: Database, us: Tenant, at_once: int
) -> None:
    cases = [us.case_id, us.case_without_address, us.case_id, us.case_id]

    def announce(session: Session) -> None:
        session.add_all(event_of(us, case_id) for case_id in cases)

    await asyncio.gather(*(database.write(announce) for _ in range(at_once)))
    with database.transaction() as session:
        for case_id in {*cases}:
            count = at_once * cases.count(case_id)
            assert positions(session, case_id) == list(range(1, count + 1))
            assert session.get_one(Case, case_id).last_position == count


async def test_an_event_of_no_case_has_no_position(database: Database, us: Tenant) -> None:
    event = event_of(us, None)
    await database.write(lambda session: session.add(event))
    with database.transaction() as session:
        assert session.get_one(Event, event.id).position is None
