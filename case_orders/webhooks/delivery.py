"""Delivering messages to webhooks: each attempt is recorded with what follows from it.

The schedule of retries is Standard Webhooks': 5 s, 5 min, 30 min, 2 h, 5 h, 10 h, 10 h.
"""

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
from case_orders.outbox import LeaseLost
from case_orders.webhooks.messages import to_send
from case_orders.webhooks.sending import LONGEST_RETRY_AFTER, Outcome, send
from case_orders.work import Again, Context
from models import Attempt, Delivery, Webhook
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
SWITCHED_OFF_AFTER = timedelta(days=5)
LONGEST_SILENCE = LONGEST_RETRY_AFTER + timedelta(hours=1)
JITTER = 0.1


@dataclass(frozen=True, slots=True)
class Attempted:
    """A message that was sent, or could not be: by which job, to whom, when, and how it ended."""

    job: Claimed
    webhook_id: str
    url: str
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
    message = await context.read_together(to_send, job.subject)
    if message is None:
        await context.complete(job, lambda session: _abandon_unwanted(session, job.subject))
        return
    sent_at = now()
    outcome = await send(context, message, sent_at)
    record = _record_delivered if outcome.delivered else _record_failed
    await context.write_together(record, Attempted(job, message.webhook.id, message.webhook.url, sent_at, outcome))


def _record_failed(session: Session, sent: Sequence[Attempted]) -> list[None]:
    """Record messages that were not taken. Their webhooks are held in one order first, in which all hold them."""
    session.connection().execute(_HELD, {"ids": list({one.webhook_id for one in sent})})
    for one in sent:
        _record(session, one)
    return [None] * len(sent)


def _record(session: Session, sent: Attempted) -> None:
    """Store the attempt and what follows from it, together with the end of the job or its next due time."""
    job, outcome = sent.job, sent.outcome
    webhook, delivery = session.get(Webhook, sent.webhook_id), session.get(Delivery, job.subject)
    # What another address answered than the webhook has by now says nothing of it.
    counts = webhook is not None and webhook.url == sent.url
    pause = None if outcome.unwanted and counts else _pause(job.attempt, outcome.retry_after)
    if outcome.sent or pause is None:
        audit.record(session, audit.of_job(job, "failed"))
    if webhook is None or delivery is None:  # deleted while the message was under way
        with suppress(LeaseLost):  # what was sent is told all the same
            outbox.finish(session, job)
        return
    session.add(Attempt(**sent.attempt()))
    if outcome.sent and counts:
        _judge_webhook(webhook, outcome)
        session.add(webhook)
    try:
        _end(session, job, outcome, pause)
    except LeaseLost:  # what was sent was sent, but a redelivery or another worker decides what comes of it
        return
    delivery.next_attempt_at = None if pause is None else now() + pause
    if pause is None:
        delivery.status = DeliveryStatus.FAILED
    session.add(delivery)


# Statements are made once: to build one takes longer than to run it.
_AMONG: BindParameter[Any] = bindparam("ids", expanding=True)
_HELD = (
    select(Webhook.id, Webhook.failing_since)
    .where(col(Webhook.id).in_(_AMONG))
    .order_by(col(Webhook.id))
    .with_for_update(key_share=True)
)
_WELL = update(Webhook).where(col(Webhook.id).in_(_AMONG)).values(failing_since=None, failed_at=None)
_KNOWN = select(Delivery.id).where(col(Delivery.id).in_(_AMONG))
_DELIVERED = (
    update(Delivery)
    .where(col(Delivery.id).in_(_AMONG))
    .values(status=DeliveryStatus.DELIVERED, next_attempt_at=None)
    .returning(col(Delivery.id))
)
_ATTEMPTED = insert(Attempt)


def _record_delivered(session: Session, sent: Sequence[Attempted]) -> list[None]:
    """Record messages that were taken: a few statements, however many there are."""
    execute = session.connection().execute
    webhooks = execute(_HELD, {"ids": list({one.webhook_id for one in sent})}).all()
    if failing := [webhook_id for webhook_id, failing_since in webhooks if failing_since is not None]:
        execute(_WELL, {"ids": failing})
    held = outbox.finish_all(session, [one.job for one in sent])
    known = set[str]()  # others went with their webhook
    for statement, is_held in ((_DELIVERED, True), (_KNOWN, False)):
        if those := [one.job.subject for one in sent if (one.job.id in held) is is_held]:
            known.update(execute(statement, {"ids": those}).scalars())
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
    if outcome.unwanted:
        webhook.active, webhook.inactive_reason = (False, "The endpoint answered 410 Gone")
    elif _note_failure(webhook, now()) > SWITCHED_OFF_AFTER:
        webhook.active, webhook.inactive_reason = (False, "No message was delivered for five days")


def _note_failure(webhook: Webhook, moment: datetime) -> timedelta:
    """For how long the webhook has been failing now. A silence proves nothing: after one the count starts anew."""
    if webhook.failed_at is None or moment - webhook.failed_at > LONGEST_SILENCE:
        webhook.failing_since = None
    webhook.failing_since, webhook.failed_at = webhook.failing_since or moment, moment
    return moment - webhook.failing_since


def scheduled_pause(attempt: int) -> timedelta:
    """How long to wait after an attempt that is not the last, whoever was to blame for it."""
    return SCHEDULE[attempt - 1] * random.uniform(1, 1 + JITTER)  # noqa: S311  spreads load, guards nothing


def _pause(attempt: int, asked: timedelta | None) -> timedelta | None:
    """How long to wait before the next attempt; None when there is none."""
    if attempt > len(SCHEDULE):
        return None
    pause = scheduled_pause(attempt)
    return max(pause, asked or pause)


def _abandon_unwanted(session: Session, delivery_id: str) -> None:
    """The webhook is gone, or switched off. Raises `Again` if it is not: a message is not given up by mistake."""
    if to_send(session, [delivery_id]) != [None]:
        raise Again("the webhook was switched on again")
    _abandon(session, delivery_id)


def _abandon(session: Session, delivery_id: str) -> None:
    delivery = session.get(Delivery, delivery_id)
    if delivery is not None:
        delivery.status, delivery.next_attempt_at = DeliveryStatus.FAILED, None
        session.add(delivery)


def fail_delivery(session: Session, job: Claimed, reason: str) -> None:
    """The job was given up without an attempt that could be recorded."""
    _abandon(session, job.subject)
