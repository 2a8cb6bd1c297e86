"""Submitting an order to its pharmacy once: with its id as the idempotency key, and a look-up before a retry."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlmodel import Session, col, select

from case_orders import progress
from case_orders.db import now
from case_orders.edge.answers import rfc3339
from case_orders.envelope import JSON, without_none
from case_orders.fulfillment import follow, reports
from case_orders.fulfillment.connection import connect, verdict
from case_orders.pharmacies.protocol import Accepted, PharmacyError, Refused, callback_url
from case_orders.settings import Settings
from case_orders.work import Again, Context
from models import Job, Order, Pharmacy, PrescriptionItem
from models.jobs import JobKind
from models.order_states import FINAL, OrderState

# How long a pharmacy may still be at work on a submission that it has not answered, from the beginning of the attempt.
SILENCE = timedelta(minutes=2)


@dataclass(frozen=True, slots=True)
class Submission:
    """What is needed to submit an order, read in one transaction."""

    pharmacy: Pharmacy
    order: JSON
    sent_before: bool
    sent_at: datetime | None
    cancel_requested: bool


def require_silence(sent_at: datetime | None) -> None:
    """Raises `Again` while "no such order" is not to be believed: a pharmacy may take an order after it was silent."""
    if sent_at is not None and (left := sent_at + SILENCE - now()) > timedelta():
        raise Again("the pharmacy may still be taking the order", left)


async def submit_order(context: Context, job: Job) -> None:
    submission: Submission | None = await context.hold(job, lambda session: _begin(session, job, context.settings))
    if submission is None:  # canceled meanwhile, or the pharmacy reported it before it answered
        await context.complete(job, lambda session: _leave(session, job.subject, context.settings))
        return
    pharmacy = connect(context, submission.pharmacy)
    order_id = submission.order["orderId"]
    try:
        known = await pharmacy.look_up(order_id) if submission.sent_before or submission.cancel_requested else None
        if known is None and submission.cancel_requested:
            require_silence(submission.sent_at)
            await context.complete(job, lambda session: _cancel(session, order_id, context.settings))
            return
        answer = await pharmacy.submit(submission.order) if known is None else None
    except PharmacyError as error:
        raise verdict(error) from error
    await context.complete(job, lambda session: _record(session, order_id, answer, known, context.settings))


def _begin(session: Session, job: Job, settings: Settings) -> Submission | None:
    """Mark the order as one that the pharmacy may know of, before it is told."""
    order = progress.lock(session, job.subject)
    if order.status in (OrderState.RECEIVED, OrderState.FAILED):
        progress.move(session, order, OrderState.PROCESSING)
    if order.status is not OrderState.PROCESSING:
        return None
    sent_before, order.sent = order.sent, True
    if not order.cancel_requested:
        order.sent_at = now()
    session.add(order)
    pharmacy = session.get_one(Pharmacy, order.pharmacy_id)
    return Submission(
        pharmacy, _for_pharmacy(session, order, settings), sent_before, order.sent_at, order.cancel_requested
    )


def _for_pharmacy(session: Session, order: Order, settings: Settings) -> JSON:
    """The order as docs/pharmacy-protocol.md describes it."""
    return without_none(
        orderId=order.id,
        callbackUrl=callback_url(settings.public_url, order.pharmacy_id),
        placedAt=rfc3339(order.created_at),
        patient=order.patient,
        shippingAddress=order.shipping_address,
        patientHealthInfo=order.patient_health_info,
        prescriber=order.prescriber,
        diagnosis=order.diagnosis,
        dateWritten=order.date_written,
        dateSigned=order.date_signed,
        datePrescribed=order.date_prescribed,
        items=_items(session, order),
    )


def _items(session: Session, order: Order) -> list[JSON]:
    rows = select(PrescriptionItem).where(PrescriptionItem.order_id == order.id)
    return [
        {name: value for name, value in item.drug.items() if name != "id"} | {"refillCount": 0} | item.as_json()
        for item in session.exec(rows.order_by(col(PrescriptionItem.position)))
    ]


def _leave(session: Session, order_id: str, settings: Settings) -> None:
    follow.keep_following(session, progress.lock(session, order_id), settings)


def _cancel(session: Session, order_id: str, settings: Settings) -> None:
    order = progress.lock(session, order_id)
    if order.status is OrderState.PROCESSING:  # else the pharmacy reported it meanwhile, and decides
        order.cancel_requested = False
        progress.move(session, order, OrderState.CANCELED, "Canceled before the pharmacy had it")
    follow.keep_following(session, order, settings)


def _record(
    session: Session, order_id: str, answer: Accepted | Refused | None, known: JSON | None, settings: Settings
) -> None:
    order = progress.lock(session, order_id)
    reports.be_submitted(session, order)
    if isinstance(answer, Refused):
        if order.furthest is OrderState.SUBMITTED and order.status not in FINAL:
            progress.move(session, order, OrderState.REJECTED, answer.reason)
    elif answer is not None:
        order.pharmacy_reference = order.pharmacy_reference or answer.reference
        session.add(order)
    if known is not None:
        reports.apply(session, order, known)
    follow.keep_following(session, order, settings)


def fail_order(session: Session, job: Job, reason: str) -> None:
    """The job was given up: the order has failed until an operator replays it."""
    order = progress.lock(session, job.subject)
    if order.status is OrderState.PROCESSING:
        progress.move(session, order, OrderState.FAILED, reason)
        if order.cancel_requested:
            progress.promise_once(session, order, JobKind.CANCEL_ORDER)
