"""What is thrown away, and what is not."""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import delete
from sqlmodel import func, select
from structlog.testing import capture_logs

from case_orders import claims, housekeeping, outbox, worker
from case_orders.db import Database, first_id, new_id, now
from case_orders.housekeeping import keep_house
from case_orders.settings import Settings
from case_orders.webhooks.events import EventType
from models import Attempt, Delivery, Event, IdempotentAnswer, Job, Order, PharmacyReport, Webhook
from models.jobs import JobKind, JobState
from models.order_states import OrderState
from models.webhooks import DeliveryStatus
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
    house = asyncio.create_task(keep_house(database, Settings(), stop))
    while len(kept := await database.read(lambda session: session.exec(select(IdempotentAnswer.key)).all())) == 3:
        await asyncio.sleep(0.01)
    stop.set()
    await house
    await database.close()
    assert sorted(kept) == ["1 hours old", "47 hours old"]


@dataclass
class Past:
    """A clinic's orders of long ago."""

    database: Database
    tenant: Tenant

    def order(
        self, days: int, status: OrderState = OrderState.COMPLETED, delivery: DeliveryStatus = DeliveryStatus.DELIVERED
    ) -> None:
        """An order with an event, whose message was sent, and a report, which was applied, so many days ago."""
        at, tenant = now() - timedelta(days=days), self.tenant
        order = Order(
            organization_id=tenant.organization_id,
            case_id=tenant.case_id,
            pharmacy_id=tenant.pharmacy_id,
            pharmacy_code="pharmacy-123",
            patient={},
            shipping_address={},
            prescriber={},
            diagnosis="",
            status=status,
        )
        with self.database.transaction() as session:
            session.add(order)
            session.flush()
            event = self._event(at, EventType.ORDER_CREATED, case_id=order.case_id, order_id=order.id)
            session.add(event)
            session.add(
                PharmacyReport(
                    pharmacy_id=order.pharmacy_id,
                    message_id=new_id(),
                    id=_id_at(at),
                    order_id=order.id,
                    body={},
                    received_at=at,
                    outcome="APPLIED",
                )
            )
            session.flush()
            self._send(session, event, at, delivery)

    def test_event(self, days: int) -> None:
        at = now() - timedelta(days=days)
        with self.database.transaction() as session:
            session.add(event := self._event(at, EventType.TEST))
            session.flush()
            self._send(session, event, at)

    def _event(self, at: datetime, kind: EventType, **of: Any) -> Event:
        organization_id = self.tenant.organization_id
        return Event(id=_id_at(at), organization_id=organization_id, type=kind, data={}, created_at=at, **of)

    def _send(
        self, session: Any, event: Event, at: datetime, status: DeliveryStatus = DeliveryStatus.DELIVERED
    ) -> None:
        organization_id = self.tenant.organization_id
        webhook = Webhook(organization_id=organization_id, url="https://hooks.example/", events=[], secret="s")
        delivery = Delivery(
            id=_id_at(at), webhook_id=webhook.id, event_id=event.id, event_type=event.type, status=status, created_at=at
        )
        for row in (webhook, delivery, Attempt(delivery_id=delivery.id, outcome="answered 204")):
            session.add(row)
            session.flush()
        job = outbox.enqueue(session, JobKind.DELIVER_WEBHOOK, delivery.id, organization_id=organization_id)
        job.state = JobState.DEAD

    def job(self, kind: JobKind, wait: timedelta) -> str:
        with self.database.transaction() as session:
            job = outbox.enqueue(session, kind, new_id(), organization_id=self.tenant.organization_id)
            job.due_at += wait
            return job.id

    def claimed(self) -> list[str]:
        with self.database.transaction() as session:
            limits = claims.Limits(jobs=10, per_destination=10)
            return [job.id for job in claims.claim(session, limits, timedelta(minutes=2), {})]

    async def after_cleaning(self, **settings: int) -> dict[str, int]:
        """How many rows are left."""
        await housekeeping.clean_up(self.database, Settings(**settings), asyncio.Event())
        tables = {"deliveries": Delivery, "attempts": Attempt, "jobs": Job, "events": Event, "reports": PharmacyReport}
        with self.database.transaction() as session:
            counts = {
                name: session.exec(select(func.count()).select_from(table)).one() for name, table in tables.items()
            }
        return {name: count for name, count in counts.items() if count}


def _id_at(moment: datetime) -> str:
    return f"{first_id(moment)}{new_id()[13:]}"


@pytest.fixture
def past(new_database: Callable[[], str]) -> Iterator[Past]:
    past = Past(Database(new_database()), Tenant("us"))
    with past.database.transaction() as session:
        populate(session, past.tenant)
    yield past
    past.database.dispose()


ALL = {"deliveries": 1, "attempts": 1, "jobs": 1, "events": 1, "reports": 1}


async def test_what_an_order_left_behind_is_kept_for_ninety_days(past: Past) -> None:
    past.order(days=89)
    assert await past.after_cleaning() == ALL


async def test_messages_with_their_attempts_and_reports_are_then_forgotten_and_events_are_not(past: Past) -> None:
    past.order(days=91)
    assert await past.after_cleaning() == {"events": 1}


async def test_events_are_forgotten_only_if_asked_for(past: Past) -> None:
    past.order(days=91)
    assert await past.after_cleaning(keep_events_days=90) == {}


async def test_an_event_outlives_its_messages(past: Past) -> None:
    past.order(days=91)
    left = await past.after_cleaning(keep_events_days=1, keep_deliveries_days=100, keep_reports_days=100)
    assert left == ALL


async def test_of_an_order_that_is_not_over_reports_and_events_stay(past: Past) -> None:
    past.order(days=91, status=OrderState.FILLING)
    assert await past.after_cleaning(keep_events_days=90) == {"events": 1, "reports": 1}


async def test_a_message_that_is_still_to_be_sent_stays(past: Past) -> None:
    past.order(days=91, delivery=DeliveryStatus.PENDING)
    assert await past.after_cleaning() == {name: 1 for name in ALL if name != "reports"}


async def test_a_test_event_goes_with_its_message(past: Past) -> None:
    past.test_event(days=91)
    assert await past.after_cleaning() == {}


async def test_a_test_event_whose_webhook_was_deleted_goes_as_its_message_would_have(past: Past) -> None:
    past.test_event(days=91)
    past.test_event(days=89)
    with past.database.transaction() as session:
        session.connection().execute(delete(Job))
        session.connection().execute(delete(Webhook))
    assert await past.after_cleaning() == {"events": 1}


async def test_more_than_a_batch_is_forgotten_a_batch_at_a_time(past: Past, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(housekeeping, "BATCH", 2)
    for _ in range(5):
        past.test_event(days=91)
    assert await past.after_cleaning() == {}


# ---- after the clock was ahead --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", JobKind)
async def test_a_job_that_waits_longer_than_any_of_its_kind_may_is_due(past: Past, kind: JobKind) -> None:
    job_id = past.job(kind, housekeeping._longest_wait(kind, Settings()) + timedelta(minutes=1))
    with capture_logs() as lines:
        await past.after_cleaning()
    assert past.claimed() == [job_id]
    assert [(line["event"], line["kind"], line["count"]) for line in lines] == [("jobs brought forward", kind, 1)]


@pytest.mark.parametrize("kind", JobKind)
async def test_a_job_that_was_put_off_waits_its_time(past: Past, kind: JobKind) -> None:
    past.job(kind, worker.KINDS[kind].longest_pause)
    await past.after_cleaning()
    assert past.claimed() == []


async def test_a_lease_that_was_taken_while_the_clock_was_ahead_is_over(
    past: Past, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever has it commits nothing."""
    job_id = past.job(JobKind.SUBMIT_ORDER, timedelta())
    moment = now()
    monkeypatch.setattr(claims, "now", lambda: moment + timedelta(days=2))
    assert past.claimed() == [job_id]
    with past.database.transaction() as session:
        stale = session.get_one(Job, job_id)
    monkeypatch.undo()
    assert past.claimed() == []
    await past.after_cleaning()
    assert past.claimed() == [job_id]
    with pytest.raises(outbox.LeaseLost), past.database.transaction() as session:
        outbox.finish(session, stale)


async def test_a_dead_job_stays_dead_whatever_its_time(past: Past) -> None:
    job_id = past.job(JobKind.SUBMIT_ORDER, timedelta(days=2))
    with past.database.transaction() as session:
        session.get_one(Job, job_id).state = JobState.DEAD
    await past.after_cleaning()
    assert past.claimed() == []


def test_an_id_of_a_moment_sorts_between_those_made_before_and_after_it() -> None:
    moment = now()
    assert _id_at(moment - timedelta(seconds=1)) < first_id(moment) < _id_at(moment + timedelta(seconds=1))
