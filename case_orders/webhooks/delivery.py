"""Sending a message to a webhook: what it says, how it is signed, and what its answer means.

The schedule of retries is Standard Webhooks': 5 s, 5 min, 30 min, 2 h, 5 h, 10 h, 10 h.
"""

import base64
import random
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import BindParameter, bindparam, insert, update
from sqlmodel import Session, col, select

from case_orders import audit, outbox
from case_orders.db import new_id, now
from case_orders.documents import DocumentMissing, StoreUnavailable
from case_orders.edge.answers import to_json
from case_orders.envelope import JSON
from case_orders.outbound import OutboundError, Reply
from case_orders.outbox import LeaseLost
from case_orders.webhooks.signing import signed_headers
from case_orders.work import Context
from models import Attempt, Delivery, Document, Event, Order, Webhook
from models.jobs import Claimed
from models.webhooks import DeliveryStatus

SCHEDULE = [
    timedelta(seconds=5),
    timedelta(minutes=5),
    timedelta(minutes=30),
    timedelta(hours=2),
    timedelta(hours=5),
    timedelta(hours=10),
    timedelta(hours=10),
]
ANSWER_WITHIN_SECONDS = 15
SWITCHED_OFF_AFTER = timedelta(days=5)
LONGEST_RETRY_AFTER = timedelta(days=1)
LONGEST_SILENCE = LONGEST_RETRY_AFTER + timedelta(hours=1)
JITTER = 0.1


@dataclass(frozen=True, slots=True)
class Message:
    """One event for one webhook, ready to be made into a body."""

    webhook: Webhook
    event: Event
    document: Document | None
    data: JSON


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an attempt ended; `sent` says whether it got as far as the endpoint."""

    words: str
    duration_ms: int
    sent: bool = True
    status_code: int | None = None
    retry_after: timedelta | None = None

    @property
    def delivered(self) -> bool:
        return self.status_code is not None and _is_success(self.status_code)

    @property
    def unwanted(self) -> bool:
        return self.status_code == 410


@dataclass(frozen=True, slots=True)
class Sent:
    """A message that was sent: by which job, to whom, when, and how it ended."""

    job: Claimed
    webhook_id: str
    at: datetime
    outcome: Outcome

    def attempt(self) -> dict[str, Any]:
        """The row of `Attempt`."""
        return {
            "id": new_id(),
            "delivery_id": self.job.subject,
            "at": self.at,
            "status_code": self.outcome.status_code,
            "duration_ms": self.outcome.duration_ms,
            "outcome": self.outcome.words,
        }


async def deliver_webhook(context: Context, job: Claimed) -> None:
    message = await context.read_together(_messages, job.subject)
    if message is None:  # the webhook is gone, or switched off
        await context.complete(job, lambda session: _abandon(session, job.subject))
        return
    sent_at = now()
    outcome = await _send(context, message, sent_at)
    if outcome.delivered:
        await context.write_together(_record_delivered, Sent(job, message.webhook.id, sent_at, outcome))
    else:
        await context.database.write(lambda session: _record(session, job, sent_at, outcome))


# Statements are made once: to build one takes longer than to run it.
_AMONG: BindParameter[Any] = bindparam("ids", expanding=True)
_TO_SEND = (
    select(Delivery.id, Webhook, Event)
    .join(Webhook, col(Webhook.id) == Delivery.webhook_id)
    .join(Event, col(Event.id) == Delivery.event_id)
    .where(col(Delivery.id).in_(_AMONG), Webhook.active)
)


def _messages(session: Session, delivery_ids: Sequence[str]) -> list[Message | None]:
    """What is to be sent for each of these; None where the webhook is gone, or switched off."""
    rows = session.exec(_TO_SEND, params={"ids": list(delivery_ids)})
    messages = {delivery_id: _message(session, webhook, event) for delivery_id, webhook, event in rows}
    return [messages.get(delivery_id) for delivery_id in delivery_ids]


def _message(session: Session, webhook: Webhook, event: Event) -> Message:
    data = dict(event.data)
    if webhook.data_mode == "FULL" and event.order_id is not None:
        data["order"] = session.get_one(Order, event.order_id).as_json(session)
    wants_document = webhook.document_mode != "NONE" and "documentId" in event.data
    document = session.get(Document, event.data["documentId"]) if wants_document else None
    return Message(webhook, event, document, data)


async def _body(context: Context, message: Message, at: datetime) -> bytes:
    data = message.data
    if message.document is not None:
        described = {name: value for name, value in message.document.as_json().items() if name != "createdAt"}
        data = data | {"document": described | await _access(context, message, at)}
    return to_json(message.event.as_json() | {"data": data})


async def _access(context: Context, message: Message, at: datetime) -> JSON:
    """The way to the document that the webhook's owner chose."""
    assert message.document is not None
    if message.webhook.document_mode == "URL":
        return {"url": context.links.url(message.document.id, at)}
    content = await context.documents.read(message.document.storage_key)
    return {"content": base64.b64encode(content).decode()}


async def _send(context: Context, message: Message, at: datetime) -> Outcome:
    try:
        body = await _body(context, message, at)
    except (StoreUnavailable, DocumentMissing):
        return Outcome("document could not be read; nothing was sent", _milliseconds_since(at), sent=False)
    headers = signed_headers(message.webhook.secrets_at(at), message.event.id, at, body)
    try:
        reply = await context.outbound.request(
            "POST",
            message.webhook.url,
            headers=headers | {"Content-Type": "application/json", "User-Agent": "case-orders"},
            body=body,
            total=ANSWER_WITHIN_SECONDS,
            max_bytes=64 * 1024,
        )
    except OutboundError as error:
        # What it answered after a good status is its own affair: the message was taken.
        words = error.reason if error.status is None or not _is_success(error.status) else "delivered"
        return Outcome(words, _milliseconds_since(at), status_code=error.status)
    return Outcome(_meaning(reply.status), reply.duration_ms, status_code=reply.status, retry_after=_retry_after(reply))


def _milliseconds_since(moment: datetime) -> int:
    return int((now() - moment).total_seconds() * 1000)


def _is_success(status: int) -> bool:
    return 200 <= status < 300


def _meaning(status: int) -> str:
    if _is_success(status):
        return "delivered"
    if 300 <= status < 400:
        return f"answered {status}; redirects are not followed"
    return "answered 410; the webhook is switched off" if status == 410 else f"answered {status}"


def _retry_after(reply: Reply) -> timedelta | None:
    value = reply.headers.get("Retry-After", "")
    return min(timedelta(seconds=int(value)), LONGEST_RETRY_AFTER) if value.isdecimal() and len(value) < 10 else None


def _record(session: Session, job: Claimed, sent_at: datetime, outcome: Outcome) -> None:
    """Store the attempt and what follows from it, together with the end of the job or its next due time."""
    pause = None if outcome.delivered or outcome.unwanted else _pause(job.attempt, outcome.retry_after)
    if outcome.sent or pause is None:
        audit.record(session, audit.of_job(job, "done" if outcome.delivered else "failed"))
    delivery = session.get(Delivery, job.subject)
    if delivery is None:  # deleted with its webhook while the message was under way
        with suppress(LeaseLost):  # what was sent is told all the same
            outbox.finish(session, job)
        return
    webhook = session.get_one(Webhook, delivery.webhook_id, with_for_update={"key_share": True})
    session.add(
        Attempt(
            delivery_id=delivery.id,
            at=sent_at,
            status_code=outcome.status_code,
            duration_ms=outcome.duration_ms,
            outcome=outcome.words,
        )
    )
    if outcome.sent:
        _judge_webhook(webhook, outcome)
        session.add(webhook)
    try:
        _end(session, job, outcome, pause)
    except LeaseLost:  # what was sent was sent, but a redelivery or another worker decides what comes of it
        return
    delivery.next_attempt_at = None if pause is None else now() + pause
    if pause is None:
        delivery.status = DeliveryStatus.DELIVERED if outcome.delivered else DeliveryStatus.FAILED
    session.add(delivery)


_HELD = (
    select(Webhook.id, Webhook.failing_since)
    .where(col(Webhook.id).in_(_AMONG))
    .order_by(col(Webhook.id))
    .with_for_update(key_share=True)
)
_WELL = update(Webhook).where(col(Webhook.id).in_(_AMONG)).values(failing_since=None, failed_at=None)
_KNOWN = select(Delivery.id).where(col(Delivery.id).in_(_AMONG))
_DELIVERED = (
    update(Delivery).where(col(Delivery.id).in_(_AMONG)).values(status=DeliveryStatus.DELIVERED, next_attempt_at=None)
)
_ATTEMPTED = insert(Attempt)


def _record_delivered(session: Session, sent: Sequence[Sent]) -> list[None]:
    """Record messages that were taken: a few statements, however many there are."""
    execute = session.connection().execute
    webhooks = execute(_HELD, {"ids": list({one.webhook_id for one in sent})}).all()
    if failing := [webhook_id for webhook_id, failing_since in webhooks if failing_since is not None]:
        execute(_WELL, {"ids": failing})
    held = outbox.finish_all(session, [one.job for one in sent])
    # Others went with their webhook.
    known = set(execute(_KNOWN, {"ids": [one.job.subject for one in sent]}).scalars())
    if done := [one.job.subject for one in sent if one.job.id in held]:
        execute(_DELIVERED, {"ids": done})
    if attempts := [one.attempt() for one in sent if one.job.subject in known]:
        execute(_ATTEMPTED, attempts)
    for one in sent:  # also where the lease was lost, or the webhook is gone: what was sent was sent
        audit.record(session, audit.of_job(one.job, "done"))
    return [None] * len(sent)


def _end(session: Session, job: Claimed, outcome: Outcome, pause: timedelta | None) -> None:
    if pause is None:
        outbox.finish(session, job)
    else:
        outbox.retry(session, job, outcome.words, pause)


def _judge_webhook(webhook: Webhook, outcome: Outcome) -> None:
    if outcome.delivered:
        webhook.failing_since = webhook.failed_at = None
    elif outcome.unwanted:
        webhook.active, webhook.inactive_reason = (False, "The endpoint answered 410 Gone")
    elif _note_failure(webhook, now()) > SWITCHED_OFF_AFTER:
        webhook.active, webhook.inactive_reason = (False, "No message was delivered for five days")


def _note_failure(webhook: Webhook, moment: datetime) -> timedelta:
    """For how long the webhook has been failing now. A silence proves nothing: after one the count starts anew."""
    if webhook.failed_at is None or moment - webhook.failed_at > LONGEST_SILENCE:
        webhook.failing_since = None
    webhook.failing_since, webhook.failed_at = webhook.failing_since or moment, moment
    return moment - webhook.failing_since


def _pause(attempt: int, asked: timedelta | None) -> timedelta | None:
    """How long to wait before the next attempt; None when there is none."""
    if attempt > len(SCHEDULE):
        return None
    pause = SCHEDULE[attempt - 1] * random.uniform(1, 1 + JITTER)  # noqa: S311  spreads load, guards nothing
    return max(pause, asked or pause)


def _abandon(session: Session, delivery_id: str) -> None:
    delivery = session.get(Delivery, delivery_id)
    if delivery is not None:
        delivery.status, delivery.next_attempt_at = DeliveryStatus.FAILED, None
        session.add(delivery)


def fail_delivery(session: Session, job: Claimed, reason: str) -> None:
    """The job was given up without an attempt that could be recorded."""
    _abandon(session, job.subject)
