"""Answers on the wire: JSON envelopes and file downloads, as ASGI messages."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import orjson

from case_orders.edge.exchange import Headers, Send
from case_orders.envelope import Answer, Download, failure
from case_orders.errors import Refusal


def rfc3339(moment: datetime) -> str:
    """A point in time in UTC, with `Z` and six digits of a second's fraction."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def to_json(value: Any) -> bytes:
    """JSON in UTF-8; times are RFC 3339 with `Z`, as all of ours are in UTC."""
    return orjson.dumps(value, option=orjson.OPT_UTC_Z)


def _wire(headers: Mapping[str, str]) -> Headers:
    return [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()]


async def send_answer(send: Send, answer: Answer) -> None:
    body = b"" if answer.status == 204 else to_json(answer.envelope())
    await _send(send, answer.status, body, _wire(answer.headers))


async def send_failure(send: Send, refusal: Refusal, request_id: str) -> None:
    await _send(send, refusal.status, to_json(failure(refusal, request_id)), _wire(refusal.headers))


async def _send(send: Send, status: int, body: bytes, headers: Headers) -> None:
    if status != 204:
        headers += [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    headers.append((b"cache-control", b"no-store"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def send_download(send: Send, download: Download) -> None:
    """Send a file. It is read before the status is sent, so that a missing one is an error."""
    content = await download.read()
    # Only letters that are safe in a quoted string are kept of a name that came from outside.
    name = "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "_" for c in download.file_name)
    headers = {
        "Content-Type": download.content_type,
        "Content-Length": str(len(content)),
        "Content-Disposition": f'attachment; filename="{name}"',
        "Cache-Control": "no-store",
    }
    await send({"type": "http.response.start", "status": 200, "headers": _wire(headers)})
    await send({"type": "http.response.body", "body": content})
