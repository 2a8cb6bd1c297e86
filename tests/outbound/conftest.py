"""Servers that misbehave below HTTP, and names that resolve to what a test says."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import (
    AbstractAsyncContextManager,
    asynccontextmanager,
    closing,
    suppress,
)

import pytest

from case_orders.outbound import Outbound

Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
Serve = Callable[[Script], AbstractAsyncContextManager[str]]
Name = Callable[..., None]


@pytest.fixture
async def outbound() -> AsyncIterator[Outbound]:
    async with Outbound(allow=("127.0.0.0/8",)) as client:
        yield client


@pytest.fixture
async def guarded() -> AsyncIterator[Outbound]:
    async with Outbound() as client:
        yield client


@pytest.fixture
def serve() -> Serve:
    """Runs a script per connection, which ends when either side hangs up; gives the server's URL."""

    @asynccontextmanager
    async def run(script: Script) -> AsyncIterator[str]:
        async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with closing(writer), suppress(ConnectionError, asyncio.CancelledError):
                conversations.add(asyncio.current_task())
                await script(reader, writer)

        conversations: set[asyncio.Task[None] | None] = set()
        async with await asyncio.start_server(converse, "127.0.0.1", 0) as server:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
            for conversation in filter(None, conversations):
                conversation.cancel()

    return run


@pytest.fixture
def name(monkeypatch: pytest.MonkeyPatch) -> Name:
    """Makes a name resolve to the given addresses; a list in place of one address is gone through lookup by lookup."""
    answers: dict[str, list[list[str]]] = {}

    def getaddrinfo(host: str, port: int, *_: object, **__: object) -> list[tuple[object, ...]]:
        if host not in answers:
            raise socket.gaierror(socket.EAI_NONAME, "unknown")
        lookups = answers[host]
        addresses = lookups.pop(0) if len(lookups) > 1 else lookups[0]
        return [_info(address, port) for address in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)

    def register(host: str, *lookups: list[str]) -> None:
        answers[host] = list(lookups)

    return register


def _info(address: str, port: int) -> tuple[object, ...]:
    if ":" in address:
        return (
            socket.AF_INET6,
            socket.SOCK_STREAM,
            socket.IPPROTO_TCP,
            "",
            (address, port, 0, 0),
        )
    return socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (address, port)
