"""What a message to a webhook says: its event, with as much of the order and the document as the webhook asks for."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam
from sqlmodel import Session, col, select

from case_orders.edge.answers import to_json
from case_orders.envelope import JSON
from case_orders.row import table_of
from case_orders.work import Context
from models import Delivery, Document, Event, Order, Webhook


@dataclass(frozen=True, slots=True)
class Message:
    """One event for one webhook; `content` is what is said, but for the document."""

    webhook: Webhook
    event_id: str
    content: JSON
    document: Document | None

    async def body(self, context: Context, at: datetime) -> bytes:
        """The message as it is sent at this moment. Raises what reading a document raises."""
        if self.document is None:
            return to_json(self.content)
        described = {name: value for name, value in self.document.as_json().items() if name != "createdAt"}
        access = await _access(context, self.webhook, self.document, at)
        return to_json(self.content | {"data": self.content["data"] | {"document": described | access}})


async def _access(context: Context, webhook: Webhook, document: Document, at: datetime) -> JSON:
    """The way to the document that the webhook's owner chose."""
    if webhook.document_mode == "URL":
        return {"url": context.links.url(document.id, at)}
    content = await context.documents.read(document.storage_key)
    return {"content": base64.b64encode(content).decode()}


# Events are read as plain rows: each is said once, and a session would keep book of it.
_EVENT = table_of(Event).columns
_TO_SEND = (
    select(col(Delivery.id).label("delivery_id"), Webhook, *_EVENT)
    .join(Webhook, col(Webhook.id) == Delivery.webhook_id)
    .join(Event, col(Event.id) == Delivery.event_id)
    .where(col(Delivery.id).in_(bindparam("ids", expanding=True)), Webhook.active)
)


def to_send(session: Session, delivery_ids: Sequence[str]) -> list[Message | None]:
    """What is to be sent for each of these; None where the webhook is gone, or switched off."""
    rows: Any = session.exec(_TO_SEND, params={"ids": list(delivery_ids)})
    messages = {row.delivery_id: _message(session, row) for row in rows}
    return [messages.get(delivery_id) for delivery_id in delivery_ids]


def _message(session: Session, row: Any) -> Message:
    """The row has the columns of an event, and its webhook."""
    webhook, content = row.Webhook, Event.as_json(row)
    if webhook.data_mode == "FULL" and row.order_id is not None:
        content["data"] = row.data | {"order": session.get_one(Order, row.order_id).as_json(session)}
    wants_document = webhook.document_mode != "NONE" and "documentId" in row.data
    document = session.get(Document, row.data["documentId"]) if wants_document else None
    return Message(webhook, row.id, content, document)
