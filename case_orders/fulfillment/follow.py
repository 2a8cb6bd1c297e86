"""Hearing of an order: the reports that its pharmacy sends, and asking when none has come for a while."""

from datetime import timedelta

import structlog
from sqlmodel import Session, func, select

from case_orders import progress
from case_orders.db import now
from case_orders.envelope import JSON
from case_orders.fulfillment import reports
from case_orders.fulfillment.connection import connect
from case_orders.pharmacies.protocol import PharmacyError
from case_orders.settings import Settings
from case_orders.work import Context
from models import Job, Order, Pharmacy, PharmacyReport
from models.jobs import JobKind
from models.order_states import FINAL, OrderState
from models.orders import DocumentStatus

log = structlog.get_logger("case_orders.fulfillment")

# A completed order whose documents are still missing is asked about for this long.
DOCUMENTS_AWAITED_FOR = timedelta(days=7)


async def apply_report(context: Context, job: Job) -> None:
    def act(session: Session) -> None:
        report = session.exec(select(PharmacyReport).where(PharmacyReport.id == job.subject)).one()
        order = progress.lock(session, report.order_id)
        report.outcome = reports.apply(session, order, report.body)
        session.add(report)
        keep_following(session, order, context.settings)

    await context.complete(job, act)


async def follow_order(context: Context, job: Job) -> None:
    """A question without an answer is asked again at the usual pace: an order is followed for as long as it is open."""
    order, pharmacy, is_silent = await context.database.read(lambda session: _look(session, job, context))
    standing = await _ask(context, order, pharmacy) if is_silent and _is_open(order) else None
    await context.complete(job, lambda session: _record(session, order.id, standing, context))


async def _ask(context: Context, order: Order, pharmacy: Pharmacy) -> JSON | None:
    reason = "the pharmacy does not know the order"
    try:
        standing = await connect(context, pharmacy).look_up(order.id)
    except PharmacyError as error:
        standing, reason = None, error.reason
    if standing is None:
        log.warning("order not followed", order=order.id, reason=reason)
    return standing


def _look(session: Session, job: Job, context: Context) -> tuple[Order, Pharmacy, bool]:
    order = session.get_one(Order, job.subject)
    last = session.exec(select(func.max(PharmacyReport.received_at)).where(PharmacyReport.order_id == order.id)).one()
    is_silent = last is None or now() - last > timedelta(seconds=context.settings.follow_seconds)
    return order, session.get_one(Pharmacy, order.pharmacy_id), is_silent


def _is_open(order: Order) -> bool:
    """Whether there is anything left to be heard of the order."""
    if order.status not in FINAL:
        return True
    awaited = order.status is OrderState.COMPLETED and order.document_status is DocumentStatus.PENDING
    return awaited and now() - order.updated_at < DOCUMENTS_AWAITED_FOR


def _record(session: Session, order_id: str, standing: JSON | None, context: Context) -> None:
    order = progress.lock(session, order_id)
    if standing is not None:
        reports.apply(session, order, standing)
    keep_following(session, order, context.settings)


def keep_following(session: Session, order: Order, settings: Settings) -> None:
    """See to it that an open order is asked about later, less often if it has been under way for long."""
    if _is_open(order):
        pause = max(timedelta(seconds=settings.follow_seconds), (now() - order.created_at) / 10)
        progress.promise_once(session, order, JobKind.FOLLOW_ORDER, delay=pause)
