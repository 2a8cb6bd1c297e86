"""Events, written in the transaction of what they tell, together with a delivery for each webhook that wants them."""

from enum import StrEnum
from functools import lru_cache
from typing import Any, TypeVar
from urllib.parse import urlsplit

from sqlmodel import Session, SQLModel, select

from case_orders.db import now
from case_orders.lookups import Lookup
from case_orders.outbox import enqueue, replay
from models import Delivery, Event, Job, Order, Webhook
from models.jobs import JobKind
from models.webhooks import DeliveryStatus

T = TypeVar("T", bound=SQLModel)


class EventType(StrEnum):
    """The contract's SentEventType."""

    ORDER_CREATED = "ORDER_CREATED"
    ORDER_STATUS_CHANGED = "ORDER_STATUS_CHANGED"
    ORDER_TRACKING_ADDED = "ORDER_TRACKING_ADDED"
    DOCUMENT_STORED = "DOCUMENT_STORED"
    TEST = "TEST"


def announce(session: Session, order: Order, event_type: EventType, **data: Any) -> Event:
    """Write an event of an order: identifiers and states only. It follows the last one of the order."""
    order.last_sequence += 1
    event = Event(
        organization_id=order.organization_id,
        case_id=order.case_id,
        order_id=order.id,
        sequence=order.last_sequence,
        type=event_type,
        data={"caseId": order.case_id, "orderId": order.id, "status": order.status} | data,
    )
    session.add_all([order, event])
    _deliver_to_subscribers(session, event)
    return event


SUBSCRIBERS = Lookup(Webhook, "organization_id", active=True)


def _deliver_to_subscribers(session: Session, event: Event) -> None:
    for webhook in SUBSCRIBERS.all(session, event.organization_id):
        if event.type in webhook.events:
            deliver(session, webhook, event)


def test_event(session: Session, webhook: Webhook) -> Delivery:
    """An event that asks for nothing but to be received."""
    event = Event(organization_id=webhook.organization_id, type=EventType.TEST, data={})
    session.add(event)
    return deliver(session, webhook, event)


def deliver(session: Session, webhook: Webhook, event: Event) -> Delivery:
    """Promise to send an event to a webhook."""
    delivery = Delivery(webhook_id=webhook.id, event_id=event.id, event_type=event.type, next_attempt_at=now())
    session.add(delivery)
    _promise(session, webhook, delivery)
    return delivery


def _promise(session: Session, webhook: Webhook, delivery: Delivery) -> None:
    enqueue(
        session,
        JobKind.DELIVER_WEBHOOK,
        delivery.id,
        organization_id=webhook.organization_id,
        destination=_destination(webhook.url),
    )


@lru_cache(maxsize=1000)
def _destination(url: str) -> str:
    return urlsplit(url).netloc.lower()


def send_now(session: Session, webhook: Webhook, delivery_id: str) -> Delivery | None:
    """Send a delivery again, with the whole schedule of retries before it, by the one job that it has.

    The webhook must be held. An attempt that is under way is recorded, but decides nothing any more. None, and nothing
    changed, if the delivery is gone.
    """
    # In the order in which a worker holds them that records an attempt or gives it up: its webhook comes before.
    job = session.exec(select(Job).where(Job.subject == delivery_id).with_for_update()).one_or_none()
    delivery = hold(session, Delivery, delivery_id)
    if delivery is None:
        return None
    delivery.status, delivery.next_attempt_at = DeliveryStatus.PENDING, now()
    session.add(delivery)
    if job is None:
        _promise(session, webhook, delivery)
    else:
        job.destination = _destination(webhook.url)
        replay(session, job)
    return delivery


def hold(session: Session, table: type[T], row_id: str) -> T | None:
    """A row as it is now, if it is there; nobody else changes it until this transaction ends."""
    return session.get(table, row_id, with_for_update={"key_share": True}, populate_existing=True)
