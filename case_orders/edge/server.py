"""uvicorn, with patience for no one: who sends no request head in time, or does not read the answer, is cut off."""

import asyncio
import contextlib
import socket
from collections.abc import Iterator, Sequence
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from case_orders.edge.answers import to_json
from case_orders.edge.exchange import ASGIApp
from case_orders.edge.failures import new_request_id
from case_orders.envelope import failure
from case_orders.errors import Invalid

# A head that is still not whole after so many bytes is cut off.
MAX_HEAD_BYTES = 64 * 1024
# Less of an answer read than this, in the time that a head may take, is not reading.
MIN_READ_BYTES = 256 * 1024
# How long requests under way may take when the server stops.
GRACE_SECONDS = 10


class Server(uvicorn.Server):
    """A server that leaves signals to whoever runs it: set `should_exit` to stop it."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def make_server(app: ASGIApp, head_seconds: float, trusted_proxies: Sequence[str] = ()) -> Server:
    """A server for `app`; a request's head must arrive within `head_seconds`, from the connection's start on.

    An answer must be read, too: at least 256 KiB of it within the same time. What a trusted proxy says of its client is
    believed.
    """
    config = uvicorn.Config(
        app,
        http=_with_deadlines(head_seconds),
        proxy_headers=bool(trusted_proxies),
        forwarded_allow_ips=list(trusted_proxies),
        lifespan="on",
        access_log=False,
        log_config=None,
        server_header=False,
        timeout_keep_alive=5,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    return Server(config)


class _Impatient(HttpToolsProtocol):
    """uvicorn itself waits forever for slow heads, silent sockets and slow readers, and takes heads of any length.

    It also takes what follows a body in chunks for headers, which a proxy that looks at heads would not have seen.
    """

    seconds: float
    _deadline: asyncio.TimerHandle | None = None
    _reading: asyncio.TimerHandle | None = None
    _in_head = True
    _head_bytes = 0
    _framing_bytes = 0
    """What came since the head, or the last chunk, and is no body: sizes of chunks, extensions, trailers."""

    def _arm(self) -> None:
        self._disarm()
        self._deadline = self.loop.call_later(self.seconds, self.transport.abort)

    def _disarm(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def pause_writing(self) -> None:
        super().pause_writing()
        self._watch_reading()

    def resume_writing(self) -> None:
        self._unwatch_reading()
        super().resume_writing()

    def _watch_reading(self) -> None:
        unread = self.transport.get_write_buffer_size()
        self._reading = self.loop.call_later(self.seconds, self._judge_reading, unread)

    def _unwatch_reading(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
            self._reading = None

    def _judge_reading(self, unread_before: int) -> None:
        if unread_before - self.transport.get_write_buffer_size() < MIN_READ_BYTES:
            self.transport.abort()
        else:
            self._watch_reading()

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._arm()

    def data_received(self, data: bytes) -> None:
        if self._in_head:
            if self._head_bytes > MAX_HEAD_BYTES:
                self.transport.abort()
                return
            self._head_bytes += len(data)
        elif self._deadline is None and self.cycle.response_complete:
            # The rest of a body that was answered early, or empty lines: uvicorn lets go of its own deadline for them.
            self._arm()
        self._framing_bytes += len(data)
        super().data_received(data)
        if not self._in_head and self._framing_bytes > MAX_HEAD_BYTES:
            self.transport.abort()

    def on_message_begin(self) -> None:
        self._in_head, self._head_bytes = True, 0
        self._arm()
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_head:  # a trailer is none
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._in_head, self._framing_bytes = False, 0
        self._disarm()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._framing_bytes -= len(body)
        super().on_body(body)

    def on_chunk_complete(self) -> None:
        self._framing_bytes = 0

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.transport.is_closing() and self in self.connections:
            self._arm()  # closing waits until all is read, however long that takes

    def timeout_keep_alive_handler(self) -> None:
        super().timeout_keep_alive_handler()
        self._arm()

    def connection_lost(self, exc: Exception | None) -> None:
        self._disarm()
        self._unwatch_reading()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        self.transport.write(_malformed())
        self.transport.close()


def _with_deadlines(seconds: float) -> type[asyncio.Protocol]:
    return type("Impatient", (_Impatient,), {"seconds": seconds})


def _malformed() -> bytes:
    """The envelope for what is no HTTP; uvicorn itself would say it in plain text."""
    request_id = new_request_id()
    body = to_json(failure(Invalid("Request is not valid HTTP", "malformed_request"), request_id))
    head = (
        "HTTP/1.1 400 Bad Request",
        "content-type: application/json",
        f"content-length: {len(body)}",
        f"x-request-id: {request_id}",
        "cache-control: no-store",
        "x-content-type-options: nosniff",
        "connection: close",
    )
    return "\r\n".join([*head, "", ""]).encode() + body


def listen(host: str, port: int) -> socket.socket:
    """A socket that takes connections; port 0 finds a free one."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError:
        listener.close()
        raise
    return listener


def free_port() -> int:
    """A port of this machine that nobody listens at, for a process that is about to."""
    with listen("127.0.0.1", 0) as free:
        port: int = free.getsockname()[1]
        return port
