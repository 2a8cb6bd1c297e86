"""Events, written in the transaction of what they tell, together with a delivery for each webhook that wants them."""

from enum import StrEnum
from typing import Any
from urllib.parse import urlsplit

from sqlmodel import Session, col, select

from case_orders.db import now
from case_orders.outbox import enqueue
from models import Case, Delivery, Event, Order, Webhook
from models.jobs import JobKind
from models.webhooks import DeliveryStatus


class EventType(StrEnum):
    """The contract's SentEventType."""

    ORDER_CREATED = "ORDER_CREATED"
    ORDER_STATUS_CHANGED = "ORDER_STATUS_CHANGED"
    ORDER_TRACKING_ADDED = "ORDER_TRACKING_ADDED"
    DOCUMENT_STORED = "DOCUMENT_STORED"
    TEST = "TEST"


def announce(session: Session, order: Order, event_type: EventType, **data: Any) -> Event:
    """Write an event of an order: identifiers and states only. Its numbers follow the last one's of case and order."""
    case = _lock_case(session, order.case_id)
    case.last_position += 1
    order.last_sequence += 1
    event = Event(
        organization_id=order.organization_id,
        case_id=order.case_id,
        position=case.last_position,
        order_id=order.id,
        sequence=order.last_sequence,
        type=event_type,
        data={"caseId": order.case_id, "orderId": order.id, "status": order.status} | data,
    )
    session.add_all([case, order, event])
    _deliver_to_subscribers(session, event)
    return event


def _lock_case(session: Session, case_id: str) -> Case:
    """The case as it is now, though the session may have read it before another transaction counted it on."""
    locked = select(Case).where(Case.id == case_id).with_for_update(key_share=True)
    return session.exec(locked.execution_options(populate_existing=True)).one()


def _deliver_to_subscribers(session: Session, event: Event) -> None:
    webhooks = select(Webhook).where(Webhook.organization_id == event.organization_id, col(Webhook.active))
    for webhook in session.exec(webhooks):
        if event.type in webhook.events:
            deliver(session, webhook, event)


def test_event(session: Session, webhook: Webhook) -> Delivery:
    """An event that asks for nothing but to be received."""
    event = Event(organization_id=webhook.organization_id, type=EventType.TEST, data={})
    session.add(event)
    return deliver(session, webhook, event)


def deliver(session: Session, webhook: Webhook, event: Event) -> Delivery:
    """Promise to send an event to a webhook."""
    session.flush()
    delivery = Delivery(webhook_id=webhook.id, event_id=event.id, event_type=event.type)
    session.add(delivery)
    send_now(session, webhook, delivery)
    return delivery


def send_now(session: Session, webhook: Webhook, delivery: Delivery) -> None:
    """Promise to send a delivery, for the first time or again, with the whole schedule of retries before it."""
    delivery.status, delivery.next_attempt_at = DeliveryStatus.PENDING, now()
    session.add(delivery)
    enqueue(
        session,
        JobKind.DELIVER_WEBHOOK,
        delivery.id,
        organization_id=webhook.organization_id,
        destination=urlsplit(webhook.url).netloc.lower(),
    )
