"""One attempt to send a message, and what its answer means."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from case_orders.db import now
from case_orders.documents import DocumentMissing, StoreUnavailable
from case_orders.outbound import OutboundError, Reply
from case_orders.webhooks.messages import Message
from case_orders.webhooks.signing import signed_headers
from case_orders.work import Context

ANSWER_WITHIN_SECONDS = 15
LONGEST_RETRY_AFTER = timedelta(days=1)


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


async def send(context: Context, message: Message, at: datetime) -> Outcome:
    """Sign the message and send it, dated `at`."""
    try:
        body = await message.body(context, at)
    except (StoreUnavailable, DocumentMissing):
        return Outcome("document could not be read; nothing was sent", _milliseconds_since(at), sent=False)
    headers = signed_headers(message.webhook.secrets_at(at), message.event_id, at, body)
    try:
        reply = await context.outbound_to_webhooks.request(
            "POST",
            message.webhook.url,
            headers=headers | {"Content-Type": "application/json"},
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
