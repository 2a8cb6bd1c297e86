"""Taking a cancel request to the pharmacy, which grants it or denies it."""

from datetime import timedelta

from sqlmodel import Session

from case_orders import progress
from case_orders.envelope import JSON, without_none
from case_orders.fulfillment import reports
from case_orders.fulfillment.connection import connect, verdict
from case_orders.pharmacies.protocol import CancellationAnswer, Denied, Granted, NotKnown, PharmacyError, Undecided
from case_orders.work import Again, Context
from models import Job, Order, Pharmacy
from models.order_states import OrderState

# How soon to look again at an order whose submission has not been answered.
SUBMISSION_PAUSE = timedelta(seconds=2)


async def cancel_order(context: Context, job: Job) -> None:
    order, pharmacy = await context.database.read(lambda session: _look(session, job))
    if order.status is OrderState.PROCESSING:
        raise Again("the submission to the pharmacy has not been answered yet", SUBMISSION_PAUSE)
    if order.status not in (OrderState.CANCEL_REQUESTED, OrderState.FAILED):
        await context.complete(job)
        return
    try:
        answer = await connect(context, pharmacy).cancel(order.id)
    except PharmacyError as error:
        raise verdict(error) from error
    if isinstance(answer, NotKnown) and order.status is not OrderState.FAILED:
        raise Again("the pharmacy does not know the order")
    decision = _decision(answer)
    await context.complete(job, lambda session: _record(session, order.id, decision))


def _decision(answer: CancellationAnswer) -> JSON | None:
    """The contract's CancellationAnswer; None while the pharmacy has not decided and will report it later."""
    match answer:
        case Granted(reason=reason):
            return {"granted": True} | without_none(reason=reason)
        case Denied(reason=reason):
            return {"granted": False} | without_none(reason=reason)
        case NotKnown():
            return {"granted": True, "reason": "The pharmacy does not have the order"}
        case Undecided():
            return None


def _look(session: Session, job: Job) -> tuple[Order, Pharmacy]:
    order = session.get_one(Order, job.subject)
    return order, session.get_one(Pharmacy, order.pharmacy_id)


def _record(session: Session, order_id: str, decision: JSON | None) -> None:
    if decision is not None:
        reports.take_cancellation(session, progress.lock(session, order_id), decision)
