"""uvicorn, with patience for no one: a connection that sends no request head in time is cut."""

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from case_orders.edge.exchange import ASGIApp


class Server(uvicorn.Server):
    """A server that leaves signals to whoever runs it: set `should_exit` to stop it."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def make_server(app: ASGIApp, head_seconds: float) -> Server:
    """A server for `app`; a request's head must arrive within `head_seconds`, from the connection's start on."""
    config = uvicorn.Config(
        app,
        http=_with_head_deadline(head_seconds),
        lifespan="on",
        access_log=False,
        log_config=None,
        server_header=False,
        timeout_keep_alive=5,
        timeout_graceful_shutdown=10,
    )
    return Server(config)


def _with_head_deadline(seconds: float) -> type[asyncio.Protocol]:
    """uvicorn itself waits forever for slow heads and for sockets that say nothing."""

    class Impatient(HttpToolsProtocol):
        _deadline: asyncio.TimerHandle | None = None

        def _arm(self) -> None:
            self._disarm()
            self._deadline = self.loop.call_later(seconds, self.transport.abort)

        def _disarm(self) -> None:
            if self._deadline is not None:
                self._deadline.cancel()
                self._deadline = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._arm()

        def on_message_begin(self) -> None:
            self._arm()
            super().on_message_begin()

        def on_headers_complete(self) -> None:
            self._disarm()
            super().on_headers_complete()

        def connection_lost(self, exc: Exception | None) -> None:
            self._disarm()
            super().connection_lost(exc)

    return Impatient


def listen(host: str, port: int) -> socket.socket:
    """A socket that takes connections; port 0 finds a free one."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((host, port))
    return listener
