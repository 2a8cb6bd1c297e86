"""Submitting an order to its pharmacy once: with its id as the idempotency key, and a look-up before a retry."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import bindparam
from sqlmodel import Session, col, select

from case_orders import progress
from case_orders.db import now
from case_orders.edge.answers import rfc3339
from case_orders.envelope import JSON, without_none
from case_orders.fulfillment import follow, reports
from case_orders.fulfillment.connection import connect, pharmacies, verdict
from case_orders.pharmacies.protocol import Accepted, PharmacyError, Refused, callback_url
from case_orders.settings import Settings
from case_orders.work import Again, Context
from models import Order, Pharmacy, PrescriptionItem
from models.jobs import Claimed, JobKind
from models.order_states import FINAL, OrderState

# An attempt looks the order up before it submits it, and does both within this.
ATTEMPT_SECONDS = 60
# How long a pharmacy may still be at work on a submission that it has not answered, from the beginning of the attempt:
# two minutes after the submission came to it (docs/pharmacy-protocol.md).
SILENCE = timedelta(minutes=2, seconds=ATTEMPT_SECONDS)


@dataclass(frozen=True, slots=True)
class Submission:
    """What is needed to submit an order, read in one transaction."""

    pharmacy: Pharmacy
    order: JSON
    sent_before: bool
    sent_at: datetime | None
    cancel_requested: bool


@dataclass(frozen=True, slots=True)
class Answered:
    """What the pharmacy said to a submission, or what it knew of the order already."""

    order_id: str
    answer: Accepted | Refused | None
    known: JSON | None


def require_silence(sent_at: datetime | None) -> None:
    """Raises `Again` while "no such order" is not to be believed: a pharmacy may take an order after it was silent."""
    if sent_at is not None and (left := sent_at + SILENCE - now()) > timedelta():
        raise Again("the pharmacy may still be taking the order", left)


async def submit_order(context: Context, job: Claimed) -> None:
    submission = await context.hold_together(job, _begin, job.subject)
    if submission is None:  # canceled meanwhile, or the pharmacy reported it before it answered
        await context.complete_together(job, _leave, job.subject)
        return
    pharmacy = connect(context, submission.pharmacy)
    order_id = submission.order["orderId"]
    try:
        known = await pharmacy.look_up(order_id) if submission.sent_before or submission.cancel_requested else None
        if known is None and submission.cancel_requested:
            require_silence(submission.sent_at)
            await context.complete(job, lambda session: _cancel(session, order_id, context.settings), holds=True)
            return
        answer = await pharmacy.submit(submission.order) if known is None else None
    except PharmacyError as error:
        raise verdict(error) from error
    await context.complete_together(job, _record, Answered(order_id, answer, known))


def _begin(session: Session, settings: Settings, order_ids: Sequence[str]) -> list[Submission | None]:
    """Mark orders as ones that their pharmacies may know of, before they are told."""
    orders = progress.lock_all(session, order_ids)
    known = pharmacies(session, [order.pharmacy_id for order in orders.values()])
    items = _items(session, order_ids)
    return [
        _begin_one(session, order, known[order.pharmacy_id], _for_pharmacy(order, items[order.id], settings))
        for order in map(orders.__getitem__, order_ids)
    ]


def _begin_one(session: Session, order: Order, pharmacy: Pharmacy, content: JSON) -> Submission | None:
    if order.status in (OrderState.RECEIVED, OrderState.FAILED):
        progress.move(session, order, OrderState.PROCESSING)
    if order.status is not OrderState.PROCESSING:
        return None
    sent_before, order.sent = order.sent, True
    if not order.cancel_requested:
        order.sent_at = now()
    session.add(order)
    return Submission(pharmacy, content, sent_before, order.sent_at, order.cancel_requested)


def _for_pharmacy(order: Order, items: Sequence[PrescriptionItem], settings: Settings) -> JSON:
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
        items=[
            {name: value for name, value in item.drug.items() if name != "id"} | {"refillCount": 0} | item.as_json()
            for item in items
        ],
    )


_ITEMS = (
    select(PrescriptionItem)
    .where(col(PrescriptionItem.order_id).in_(bindparam("order_ids", expanding=True)))
    .order_by(col(PrescriptionItem.order_id), col(PrescriptionItem.position))
)


def _items(session: Session, order_ids: Collection[str]) -> Mapping[str, list[PrescriptionItem]]:
    """What was ordered, by order."""
    items = defaultdict(list)
    for item in session.exec(_ITEMS, params={"order_ids": list(order_ids)}):
        items[item.order_id].append(item)
    return items


def _leave(session: Session, settings: Settings, order_ids: Sequence[str]) -> None:
    with follow.held(session, settings, order_ids):
        pass  # it is as it was


def _cancel(session: Session, order_id: str, settings: Settings) -> None:
    with follow.held(session, settings, [order_id]) as orders:
        order = orders[order_id]
        if order.status is OrderState.PROCESSING:  # else the pharmacy reported it meanwhile, and decides
            order.cancel_requested = False
            progress.move(session, order, OrderState.CANCELED, "Canceled before the pharmacy had it")


def _record(session: Session, settings: Settings, answers: Sequence[Answered]) -> None:
    with follow.held(session, settings, {answered.order_id for answered in answers}) as orders:
        for answered in answers:
            _record_one(session, orders[answered.order_id], answered.answer, answered.known)


def _record_one(session: Session, order: Order, answer: Accepted | Refused | None, known: JSON | None) -> None:
    reports.be_submitted(session, order)
    if isinstance(answer, Refused):
        if order.furthest is OrderState.SUBMITTED and order.status not in FINAL:
            progress.move(session, order, OrderState.REJECTED, answer.reason)
    elif answer is not None:
        order.pharmacy_reference = order.pharmacy_reference or answer.reference
        session.add(order)
    if known is not None:
        reports.apply(session, order, known)


def fail_order(session: Session, job: Claimed, reason: str) -> None:
    """The job was given up: the order has failed until an operator replays it."""
    order = progress.lock(session, job.subject)
    if order.status is OrderState.RECEIVED:  # no attempt came as far as to begin
        progress.move(session, order, OrderState.PROCESSING)
    if order.status is OrderState.PROCESSING:
        progress.move(session, order, OrderState.FAILED, reason)
        if order.cancel_requested:
            progress.promise_once(session, order, JobKind.CANCEL_ORDER)
