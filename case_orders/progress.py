"""The one door through which an order changes: its state, its history and the event that tells of it, together."""

from collections.abc import Collection
from datetime import datetime, timedelta

from sqlalchemy import bindparam
from sqlmodel import Session, col, select

from case_orders.db import now
from case_orders.lookups import foresee
from case_orders.outbox import enqueue, ensure
from case_orders.webhooks.events import SUBSCRIBERS, EventType, announce
from models import Job, Order, StatusChange
from models.jobs import JobKind
from models.order_states import OrderState, rank


def begin(session: Session, order: Order) -> None:
    """Write a new order with its first state and its ORDER_CREATED event."""
    session.add(order)
    announce(session, order, EventType.ORDER_CREATED)
    _note(session, order, order.created_at)


def move(session: Session, order: Order, to: OrderState, reason: str | None = None) -> None:
    """Bring an order to another state."""
    before, moment = order.status, now()
    order.status, order.updated_at = to, moment
    if rank(to) > rank(order.furthest):
        order.furthest = to
    announce(session, order, EventType.ORDER_STATUS_CHANGED, previousStatus=before)
    _note(session, order, moment, reason)


def _note(session: Session, order: Order, at: datetime, reason: str | None = None) -> None:
    """Add the order's state to its history, under the number of the event that told of it."""
    session.add(
        StatusChange(order_id=order.id, position=order.last_sequence, status=order.status, reason=reason, at=at)
    )


# Rows that refer to the orders may be written meanwhile: they do not change them. Whoever locks several does so in
# one order, so that no two wait for each other.
_LOCKED = (
    select(Order)
    .where(col(Order.id).in_(bindparam("ids", expanding=True)))
    .order_by(col(Order.id))
    .with_for_update(key_share=True)
    .execution_options(populate_existing=True)
)


def lock(session: Session, order_id: str) -> Order:
    """An order that nobody else changes until this transaction ends."""
    return session.exec(_LOCKED, params={"ids": [order_id]}).one()


def lock_all(session: Session, order_ids: Collection[str]) -> dict[str, Order]:
    """The same for several at once, by their ids. Whoever is told of what becomes of them is looked up at once, too."""
    orders = session.exec(_LOCKED, params={"ids": list(set(order_ids))}).all()
    foresee(session, {SUBSCRIBERS.ask(order.organization_id) for order in orders})
    return {order.id: order for order in orders}


def promise(session: Session, order: Order, kind: JobKind) -> None:
    """Promise a job about the order, which speaks to its pharmacy."""
    enqueue(session, kind, order.id, organization_id=order.organization_id, destination=order.pharmacy_id)


def promise_once(session: Session, order: Order, kind: JobKind) -> None:
    """The same, unless such a job is still to come."""
    ensure(session, [job_about(order, kind)])


def job_about(order: Order, kind: JobKind, *, subject: str | None = None, delay: timedelta = timedelta()) -> Job:
    """A job that may be promised."""
    return Job(
        organization_id=order.organization_id,
        kind=kind,
        subject=subject or order.id,
        destination=order.pharmacy_id,
        due_at=now() + delay,
    )
