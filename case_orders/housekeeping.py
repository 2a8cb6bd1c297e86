"""What is thrown away once it has done its duty, and jobs that the clock misled, by every worker: twice does no harm.

Rows go in batches, each a transaction of its own, so that nobody waits long for their locks. Ids sort by the time of
their making, so the oldest rows are found without an index of their own.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import structlog
from sqlalchemy import delete
from sqlmodel import Session, col, select

from case_orders import idempotency, outbox
from case_orders.db import Database, first_id, now
from case_orders.errors import describe
from case_orders.settings import Settings
from case_orders.webhooks.events import EventType
from case_orders.worker import KINDS
from models import Delivery, Event, Job, Order, PharmacyReport
from models.jobs import JobKind
from models.order_states import FINAL
from models.webhooks import DeliveryStatus

log = structlog.get_logger("case_orders.housekeeping")

EVERY_SECONDS = 3600
BATCH = 500

# Deletes or mends up to BATCH rows; how many it found.
Chore = Callable[[Session], int]


async def keep_house(database: Database, settings: Settings, stop: asyncio.Event) -> None:
    """Clean up once an hour until `stop` is set."""
    while not stop.is_set():
        try:
            await clean_up(database, settings, stop)
        except Exception as failure:  # the database is away: an hour later is soon enough
            log.error("cannot clean up", error=describe(failure))
        try:
            async with asyncio.timeout(EVERY_SECONDS):
                await stop.wait()
        except TimeoutError:
            continue


async def clean_up(database: Database, settings: Settings, stop: asyncio.Event) -> None:
    """Throw away all that need not be kept any longer, or as much as is done when `stop` is set."""
    for chore in _chores(settings):
        while await database.write(chore) >= BATCH and not stop.is_set():
            pass


def _chores(settings: Settings) -> Iterator[Chore]:
    """In this order: an event goes after its deliveries."""
    moment = now()
    for kind in JobKind:
        yield partial(_bring_forward, kind=kind, longest=_longest_wait(kind, settings))
    yield partial(idempotency.forget_old, most=BATCH)
    yield partial(_forget_deliveries, before=moment - timedelta(days=settings.keep_deliveries_days))
    yield partial(_forget_tests, before=moment - timedelta(days=settings.keep_deliveries_days))
    yield partial(_forget_reports, before=moment - timedelta(days=settings.keep_reports_days))
    if settings.keep_events_days is not None:
        yield partial(_forget_events, before=moment - timedelta(days=settings.keep_events_days))


def _longest_wait(kind: JobKind, settings: Settings) -> timedelta:
    """No job of a kind waits as long, be it put off, to be followed, or leased."""
    return KINDS[kind].longest_pause + timedelta(seconds=settings.follow_seconds + settings.lease_seconds)


def _bring_forward(session: Session, kind: JobKind, longest: timedelta) -> int:
    count = outbox.bring_forward(session, kind, longest, BATCH)
    if count:
        log.warning("jobs brought forward", kind=kind, count=count)
    return count


def _forget_deliveries(session: Session, before: datetime) -> int:
    """Messages that were received or given up, with their attempts, their dead jobs and, of a test, its event."""
    over = col(Delivery.status) != DeliveryStatus.PENDING
    ids = _oldest(session, Delivery, over, before=before, at=Delivery.created_at)
    tests = select(Delivery.event_id).where(col(Delivery.id).in_(ids), Delivery.event_type == EventType.TEST)
    events = session.exec(tests).all()
    session.connection().execute(delete(Job).where(col(Job.subject).in_(ids)))
    _delete(session, Delivery, ids)
    _delete(session, Event, events)
    return len(ids)


def _forget_tests(session: Session, before: datetime) -> int:
    """Test events whose messages went with their webhook."""
    # Tests alone have no case, and of a case there is an index.
    test = (col(Event.case_id).is_(None), Event.type == EventType.TEST)
    return _delete(session, Event, _oldest(session, Event, *test, _undelivered(), before=before, at=Event.created_at))


def _undelivered() -> Any:
    """True of an event without messages."""
    return ~select(Delivery.id).where(Delivery.event_id == Event.id).exists()


def _forget_reports(session: Session, before: datetime) -> int:
    """Reports that were applied to orders that are over."""
    applied = col(PharmacyReport.outcome).is_not(None)
    over = select(Order.id).where(Order.id == PharmacyReport.order_id, col(Order.status).in_(FINAL)).exists()
    ids = _oldest(session, PharmacyReport, applied, over, before=before, at=PharmacyReport.received_at)
    return _delete(session, PharmacyReport, ids)


def _forget_events(session: Session, before: datetime) -> int:
    """Events of orders that are over. The numbers of a case's other events stay as they are."""
    over = select(Order.id).where(Order.id == Event.order_id, col(Order.status).in_(FINAL)).exists()
    return _delete(session, Event, _oldest(session, Event, over, _undelivered(), before=before, at=Event.created_at))


def _oldest(session: Session, table: Any, *conditions: Any, before: datetime, at: Any) -> Sequence[str]:
    """The ids of the oldest rows from `before`; those that another process is deleting right now are its own."""
    old = (col(table.id) < first_id(before), col(at) < before)
    query = select(table.id).where(*old, *conditions).order_by(col(table.id)).limit(BATCH)
    return session.exec(query.with_for_update(skip_locked=True)).all()


def _delete(session: Session, table: Any, ids: Sequence[str]) -> int:
    session.connection().execute(delete(table).where(col(table.id).in_(ids)))
    return len(ids)
