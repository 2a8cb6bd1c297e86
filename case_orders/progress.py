"""The one door through which an order changes: its state, its history and the event that tells of it, together."""

from datetime import timedelta

from sqlmodel import Session, func, select

from case_orders.db import now
from case_orders.outbox import enqueue, ensure
from case_orders.webhooks.events import EventType, announce
from models import Order, StatusChange
from models.jobs import JobKind
from models.order_states import OrderState, rank


def begin(session: Session, order: Order) -> None:
    """Write a new order with its first state and its ORDER_CREATED event."""
    session.add(order)
    session.add(StatusChange(order_id=order.id, position=0, status=order.status, at=order.created_at))
    announce(session, order, EventType.ORDER_CREATED)


def move(session: Session, order: Order, to: OrderState, reason: str | None = None) -> None:
    """Bring an order to another state."""
    before, moment = order.status, now()
    order.status, order.updated_at = to, moment
    if rank(to) > rank(order.furthest):
        order.furthest = to
    positions = select(func.count()).select_from(StatusChange).where(StatusChange.order_id == order.id)
    session.add(
        StatusChange(order_id=order.id, position=session.exec(positions).one(), status=to, reason=reason, at=moment)
    )
    announce(session, order, EventType.ORDER_STATUS_CHANGED, previousStatus=before)


def lock(session: Session, order_id: str) -> Order:
    """An order that nobody else changes until this transaction ends."""
    order = select(Order).where(Order.id == order_id).execution_options(populate_existing=True)
    # Rows that refer to the order may be written meanwhile: they do not change it.
    return session.exec(order.with_for_update(key_share=True)).one()


def promise(session: Session, order: Order, kind: JobKind) -> None:
    """Promise a job about the order, which speaks to its pharmacy."""
    enqueue(session, kind, order.id, organization_id=order.organization_id, destination=order.pharmacy_id)


def promise_once(
    session: Session, order: Order, kind: JobKind, *, subject: str | None = None, delay: timedelta = timedelta()
) -> None:
    """The same, unless such a job is still to come; about the order itself unless `subject` says otherwise."""
    ensure(
        session,
        kind,
        subject or order.id,
        organization_id=order.organization_id,
        destination=order.pharmacy_id,
        delay=delay,
    )
