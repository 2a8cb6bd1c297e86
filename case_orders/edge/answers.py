"""Answers on the wire: JSON envelopes as ASGI messages."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import orjson

from case_orders.edge.exchange import Headers, Send
from case_orders.envelope import Answer, failure
from case_orders.errors import Refusal


def rfc3339(moment: datetime) -> str:
    """A point in time in UTC, with `Z` and six digits of a second's fraction."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def to_json(value: Any) -> bytes:
    """JSON in UTF-8; times are RFC 3339 with `Z`, as all of ours are in UTC."""
    return orjson.dumps(value, option=orjson.OPT_UTC_Z)


def wire(headers: Mapping[str, str]) -> Headers:
    """Headers as ASGI has them."""
    return [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()]


async def send_answer(send: Send, answer: Answer) -> None:
    body = b"" if answer.status == 204 else to_json(answer.envelope())
    await _send(send, answer.status, body, wire(answer.headers))


async def send_failure(send: Send, refusal: Refusal, request_id: str) -> None:
    await _send(send, refusal.status, to_json(failure(refusal, request_id)), wire(refusal.headers))


async def _send(send: Send, status: int, body: bytes, headers: Headers) -> None:
    if status != 204:
        headers += [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    headers.append((b"cache-control", b"no-store"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
