"""The API over real HTTP, spoken on raw sockets: a client library would not send what these tests must send."""

import asyncio
import json
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import Message
from http.client import HTTPResponse
from threading import Thread
from typing import Any

from case_orders.app import create_app
from case_orders.db import Database
from case_orders.edge import contract
from case_orders.edge.server import listen, make_server
from case_orders.settings import Settings

PATIENCE_SECONDS = 10


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    headers: Message
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True, slots=True)
class Service:
    """A service on a port of 127.0.0.1."""

    port: int

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE_SECONDS)

    def exchange(self, raw: bytes, method: str = "GET") -> Reply:
        """Send `raw`, and nothing more; the answer to it."""
        with self.connect() as connection:
            connection.sendall(raw)
            return answer(connection, method)

    def request(self, method: str, target: str, headers: Mapping[str, str] | None = None, body: bytes = b"") -> Reply:
        return self.exchange(
            head(method, target, {"content-length": str(len(body))} | dict(headers or {})) + body, method
        )


def head(method: str, target: str, headers: Mapping[str, str]) -> bytes:
    lines = [f"{method} {target} HTTP/1.1", "Host: test", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def chunked(body: bytes, size: int = 1000) -> bytes:
    """A body as it goes over the wire in chunks."""
    pieces = [body[start : start + size] for start in range(0, len(body), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in [*pieces, b""])


def answer(connection: socket.socket, method: str = "GET") -> Reply:
    with HTTPResponse(connection, method=method) as response:
        response.begin()
        return Reply(response.status, response.headers, response.read())


def require_refusal(reply: Reply, *statuses: int) -> str:
    """Holds an answer against the envelope of errors; the sentence it says."""
    assert reply.status in (statuses or range(400, 500)), (reply.status, reply.body[:300])
    assert reply.headers["content-type"] == "application/json"
    assert contract.component("ErrorResponse").problems(reply.json()) == []
    assert reply.json()["status"] == reply.status
    assert reply.json()["requestId"] == reply.headers["x-request-id"]
    error: str = reply.json()["error"]
    return error


@contextmanager
def serving(settings: Settings, head_seconds: float = PATIENCE_SECONDS, *, far_away: bool = False) -> Iterator[Service]:
    """A service in a thread of its own; `far_away` it sends in small packets, few of which are on their way at once."""
    database = Database(settings.database_url)
    server = make_server(create_app(settings, database), head_seconds, settings.trusted_proxies)

    async def serve(listener: socket.socket) -> None:
        await server.serve(sockets=[listener])
        await database.close()

    with listen("127.0.0.1", 0) as listener:
        if far_away:
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 1460)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16 * 1024)
        listener.listen()  # so that connections wait until the server takes them
        thread = Thread(target=asyncio.run, args=(serve(listener),))
        thread.start()
        try:
            yield Service(listener.getsockname()[1])
        finally:
            server.should_exit = True
            thread.join()
