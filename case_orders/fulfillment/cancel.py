"""Taking a cancel request to the pharmacy, which grants it or denies it."""

import structlog
from sqlmodel import Session

from case_orders.envelope import JSON, without_none
from case_orders.fulfillment import follow, reports, submit
from case_orders.fulfillment.connection import connect, verdict
from case_orders.pharmacies.protocol import CancellationAnswer, Denied, Granted, NotKnown, PharmacyError, Undecided
from case_orders.work import Again, Context
from models import Order, Pharmacy
from models.jobs import Claimed
from models.order_states import OrderState

log = structlog.get_logger("case_orders.fulfillment")


async def cancel_order(context: Context, job: Claimed) -> None:
    """Ask the pharmacy. An order whose submission is not over is asked about by a job that its end promises."""
    order, pharmacy = await context.database.read(lambda session: _look(session, job))
    if not order.cancel_requested or order.status is OrderState.PROCESSING:
        await context.complete(job)
        return
    try:
        # The same for every attempt of this request, and another one for the next request.
        answer = await connect(context, pharmacy).cancel(order.id, job.id)
    except PharmacyError as error:
        raise verdict(error) from error
    if isinstance(answer, NotKnown):
        _require_belief(order)
    await context.complete(job, lambda session: _record(session, order.id, answer, context), holds=True)


def _require_belief(order: Order) -> None:
    if order.status is OrderState.CANCEL_REQUESTED:
        raise Again("the pharmacy does not know the order")
    submit.require_silence(order.sent_at)


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


def _look(session: Session, job: Claimed) -> tuple[Order, Pharmacy]:
    order = session.get_one(Order, job.subject)
    return order, session.get_one(Pharmacy, order.pharmacy_id)


def _record(session: Session, order_id: str, answer: CancellationAnswer, context: Context) -> None:
    with follow.held(session, context.settings, [order_id]) as orders:
        order = orders[order_id]
        if not isinstance(answer, NotKnown):
            reports.be_submitted(session, order)
        if isinstance(answer, Denied) and order.status is OrderState.CANCELED and order.cancel_requested:
            log.error("canceled order goes on", order=order.id)
        decision = _decision(answer)
        if decision is not None:
            reports.take_cancellation(session, order, decision)
