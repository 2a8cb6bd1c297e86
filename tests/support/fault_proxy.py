"""A TCP proxy that misbehaves on command."""

import asyncio
import socket
import struct
from contextlib import closing, suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Self


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with a connection from its start on."""

    reset: bool = False
    """Reset it at once; the server sees nothing."""
    hang: bool = False
    """Take it and do nothing; the server sees nothing."""
    delay: float = 0
    """Seconds before the server is connected to."""
    cut_after: int | None = None
    """Reset it after so many bytes of answer; with 0 the server has done its work and the client learns nothing."""
    bytes_per_second: float | None = None
    """Let the answer drip."""


NONE = Fault()
RESET = Fault(reset=True)
HANG = Fault(hang=True)
LOST_ANSWER = Fault(cut_after=0)


class FaultProxy:
    """Forwards 127.0.0.1:`port` to `host:target_port` as an async context manager.

    `fault` holds for connections that begin after it was set; `connections` counts all of them.
    """

    def __init__(self, target_port: int, host: str = "127.0.0.1") -> None:
        self._target = (host, target_port)
        self._conversations: set[asyncio.Task[None]] = set()
        self.fault = NONE
        self.connections = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.close()
        for conversation in self._conversations:
            conversation.cancel()
        await asyncio.gather(*self._conversations, return_exceptions=True)
        await self._server.wait_closed()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        # A task of our own: the server would log its end by cancellation as an error.
        conversation = asyncio.create_task(self._converse(reader, writer, self.fault))
        self._conversations.add(conversation)
        conversation.add_done_callback(self._conversations.discard)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, fault: Fault) -> None:
        with closing(writer), suppress(ConnectionError):
            if fault.reset:
                return _reset(writer)
            if fault.hang:
                await asyncio.Event().wait()
            await asyncio.sleep(fault.delay)
            answer_reader, request_writer = await asyncio.open_connection(*self._target)
            with closing(request_writer):
                requests = asyncio.create_task(_forward(reader, request_writer))
                try:
                    await _answer(answer_reader, writer, fault)
                finally:
                    requests.cancel()


async def _forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.write_eof()


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, fault: Fault) -> None:
    sent = 0
    while data := await reader.read(1 if fault.bytes_per_second else 65536):
        if fault.cut_after is not None:
            data = data[: fault.cut_after - sent]
        writer.write(data)
        await writer.drain()
        sent += len(data)
        if sent == fault.cut_after:
            _reset(writer)
            return
        if fault.bytes_per_second:
            await asyncio.sleep(1 / fault.bytes_per_second)


def _reset(writer: asyncio.StreamWriter) -> None:
    # Closing with no time to linger sends RST in place of FIN.
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
