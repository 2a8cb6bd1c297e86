"""Hearing of an order: the reports that its pharmacy sends, and asking when none has come for a while."""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from sqlalchemy import bindparam, update
from sqlmodel import Session, col, func, select

from case_orders import outbox, progress
from case_orders.db import now
from case_orders.envelope import JSON
from case_orders.fulfillment import reports
from case_orders.fulfillment.connection import connect
from case_orders.pharmacies.protocol import PharmacyError
from case_orders.settings import Settings
from case_orders.work import Context
from models import Job, Order, Pharmacy, PharmacyReport
from models.jobs import Claimed, JobKind
from models.order_states import FINAL, OrderState
from models.orders import DocumentStatus

log = structlog.get_logger("case_orders.fulfillment")

# A completed order whose documents are still missing is asked about for this long.
DOCUMENTS_AWAITED_FOR = timedelta(days=7)
LONGEST_PAUSE = timedelta(days=1)


async def apply_report(context: Context, job: Claimed) -> None:
    await context.complete_together(job, _apply, job.subject)


_JUDGED = update(PharmacyReport).where(col(PharmacyReport.id) == bindparam("report")).values(outcome=bindparam("said"))
_REPORTS = select(PharmacyReport).where(col(PharmacyReport.id).in_(bindparam("ids", expanding=True)))


def _apply(session: Session, settings: Settings, report_ids: Sequence[str]) -> None:
    """Apply reports in the order in which they came."""
    came = {report.id: report for report in session.exec(_REPORTS, params={"ids": list(report_ids)})}
    told = [came[report_id] for report_id in sorted(report_ids)]
    with held(session, settings, {report.order_id for report in told}) as orders:
        outcomes = reports.apply_all(session, [(orders[report.order_id], report.body) for report in told])
    judged = [{"report": report.id, "said": outcome} for report, outcome in zip(told, outcomes, strict=True)]
    session.connection().execute(_JUDGED, judged)


@dataclass(frozen=True, slots=True)
class Followed:
    """An order that may have to be asked about; `heard_at` is when its pharmacy reported last."""

    order: Order
    pharmacy: Pharmacy
    heard_at: datetime | None


async def follow_order(context: Context, job: Claimed) -> None:
    """A question without an answer is asked again at the usual pace: an order is followed for as long as it is open."""
    subject = await context.read_together(_look, job.subject)
    silent = subject.heard_at is None or now() - subject.heard_at > timedelta(seconds=context.settings.follow_seconds)
    standing = await _ask(context, subject.order, subject.pharmacy) if silent and _is_open(subject.order) else None
    await context.complete_together(job, _record, (job.subject, standing))


async def _ask(context: Context, order: Order, pharmacy: Pharmacy) -> JSON | None:
    reason = "the pharmacy does not know the order"
    try:
        standing = await connect(context, pharmacy).look_up(order.id)
    except PharmacyError as error:
        standing, reason = None, error.reason
    if standing is None:
        log.warning("order not followed", order=order.id, reason=reason)
    return standing


_HEARD = select(func.max(PharmacyReport.received_at)).where(PharmacyReport.order_id == Order.id)
_FOLLOWED = (
    select(Order, Pharmacy, _HEARD.scalar_subquery())
    .join(Pharmacy, col(Pharmacy.id) == Order.pharmacy_id)
    .where(col(Order.id).in_(bindparam("ids", expanding=True)))
)


def _look(session: Session, order_ids: Sequence[str]) -> list[Followed]:
    found = session.exec(_FOLLOWED, params={"ids": list(order_ids)})
    followed = {order.id: Followed(order, pharmacy, heard_at) for order, pharmacy, heard_at in found}
    return [followed[order_id] for order_id in order_ids]


def _is_open(order: Order) -> bool:
    """Whether there is anything left to be heard of the order."""
    if order.status not in FINAL:
        return True
    awaited = order.status is OrderState.COMPLETED and order.document_status is DocumentStatus.PENDING
    return awaited and now() - order.updated_at < DOCUMENTS_AWAITED_FOR


def _record(session: Session, settings: Settings, answers: Sequence[tuple[str, JSON | None]]) -> None:
    with held(session, settings, {order_id for order_id, _ in answers}) as orders:
        told = [(orders[order_id], standing) for order_id, standing in answers if standing is not None]
        reports.apply_all(session, told)


@contextmanager
def held(session: Session, settings: Settings, order_ids: Collection[str]) -> Iterator[dict[str, Order]]:
    """Orders, held while something is heard of them. Those that are open after it will be asked about."""
    orders = progress.lock_all(session, order_ids)
    # Looked up before anything is added: the session would have to write that first.
    questions = outbox.to_come(session, JobKind.FOLLOW_ORDER, order_ids)
    yield orders
    open_ones = [order for order in orders.values() if _is_open(order) and order.id not in questions.waiting]
    outbox.ensure(session, [_question(order, settings) for order in open_ones], questions)


def _question(order: Order, settings: Settings) -> Job:
    """Asked later, but daily, if the order has been under way for long."""
    pause = max(timedelta(seconds=settings.follow_seconds), min((now() - order.created_at) / 10, LONGEST_PAUSE))
    return progress.job_about(order, JobKind.FOLLOW_ORDER, delay=pause)
