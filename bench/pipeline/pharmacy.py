"""The pharmacy and the receiver of webhooks, in raw HTTP: they take little of the machine from what is measured.

`python -m bench.pipeline.pharmacy PORT LIFE` runs both at a port.
"""

import asyncio
import base64
import hashlib
import hmac
import json
import sys
import time
from contextlib import closing, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from case_orders.db import new_id
from tests.support.world import REPORT_SECRET

# What is reported of an order, one after the other.
LIVES = {
    "none": (),
    "short": ("COMPLETED",),
    "full": ("ACKNOWLEDGED", "FILLING", "READY", "SHIPPED", "COMPLETED"),
}

_CONNECTIONS = 8
_PDF = b"%PDF-1.7\n" + b"%" * 2000 + b"\n%%EOF\n"
_ANSWER = b"HTTP/1.1 %d X\r\nContent-Type: %b\r\nContent-Length: %d\r\n\r\n%b"
_JSON = b"application/json"
_SIGNING_KEY = base64.b64decode(REPORT_SECRET.removeprefix("whsec_"))


@dataclass
class Pharmacy:
    """Takes every order and reports each state of `life`, the next when the last was taken."""

    port: int
    life: tuple[str, ...]
    arrived: dict[str, float] = field(default_factory=dict)
    """When each order came, by the clock that all processes of a machine share."""
    reports: "asyncio.Queue[tuple[str, str, int]]" = field(default_factory=asyncio.Queue)

    def answer(self, method: bytes, path: bytes, body: bytes) -> tuple[int, bytes, bytes]:
        """Status, content type and content."""
        match method, path:
            case b"POST", b"/orders":
                order = json.loads(body)
                self.arrived[order["orderId"]] = time.monotonic()
                if self.life:
                    self.reports.put_nowait((order["orderId"], order["callbackUrl"], 0))
                return 202, _JSON, b'{"reference":"RX-1"}'
            case b"GET", b"/arrived":
                return 200, _JSON, json.dumps(self.arrived).encode()
            case b"GET", _:
                return 200, b"application/pdf", _PDF
        return 200, _JSON, b"{}"  # a webhook

    async def serve(self) -> None:
        server = await asyncio.get_running_loop().create_server(lambda: _Exchange(self), "0.0.0.0", self.port)
        async with server:
            await asyncio.gather(*(self._report() for _ in range(_CONNECTIONS)))

    async def _report(self) -> None:
        """Send reports over one connection for as long as the service keeps it, and then over another."""
        while True:
            order_id, url, step = await self.reports.get()
            parts = urlsplit(url)
            reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
            with suppress(asyncio.IncompleteReadError, ConnectionError), closing(writer):
                while True:
                    writer.write(_post(parts.netloc, urlsplit(url).path, self._body(order_id, step)))
                    head = await reader.readuntil(b"\r\n\r\n")
                    await reader.readexactly(_content_length(head))
                    assert b" 202 " in head, head
                    if step + 1 < len(self.life):
                        self.reports.put_nowait((order_id, url, step + 1))
                    order_id, url, step = await self.reports.get()
            self.reports.put_nowait((order_id, url, step))  # perhaps it was taken: a pharmacy says it again

    def _body(self, order_id: str, step: int) -> bytes:
        occurred_at = datetime.now(UTC).isoformat().replace("+00:00", "Z")
        report: dict[str, Any] = {"orderId": order_id, "occurredAt": occurred_at, "status": self.life[step]}
        if report["status"] == "SHIPPED":
            report |= {"trackingNumber": "1Z999", "carrier": "UPS"}
        if report["status"] == "COMPLETED":
            report["documents"] = [{"id": "rx", "url": f"http://127.0.0.1:{self.port}/rx.pdf"}]
        return json.dumps(report).encode()


def _post(host: str, path: str, body: bytes) -> bytes:
    message_id, at = new_id(), int(time.time())
    digest = hmac.new(_SIGNING_KEY, f"{message_id}.{at}.".encode() + body, hashlib.sha256).digest()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        f"webhook-id: {message_id}\r\nwebhook-timestamp: {at}\r\n"
        f"webhook-signature: v1,{base64.b64encode(digest).decode()}\r\n\r\n"
    )
    return head.encode() + body


class _Exchange(asyncio.Protocol):
    """One connection. It knows just enough HTTP for clients that behave."""

    def __init__(self, pharmacy: Pharmacy) -> None:
        self._pharmacy = pharmacy
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while True:
            head, separator, rest = self._buffer.partition(b"\r\n\r\n")
            length = _content_length(head)
            if not separator or len(rest) < length:
                return
            self._buffer = rest[length:]
            method, path, _ = head.split(b" ", 2)
            status, kind, content = self._pharmacy.answer(method, path, rest[:length])
            self._transport.write(_ANSWER % (status, kind, len(content), content))


def _content_length(head: bytes) -> int:
    _, found, rest = head.lower().partition(b"content-length:")
    return int(rest.split(b"\r\n", 1)[0]) if found else 0


if __name__ == "__main__":
    asyncio.run(Pharmacy(int(sys.argv[1]), LIVES[sys.argv[2]]).serve())
