"""The floor: raw ASGI, orjson and the raw driver: `python -m bench.peers.raw_asgi URL PORT`.

Every request commits by itself. On SQLite one connection does it all in the event loop, since a second one could only
wait for it; on PostgreSQL a few threads have a connection each, so that the server can flush several commits at once.
uvicorn with uvloop and httptools, without an access log. It leaves out what `bench.peers.statements` does, and every
operation but placing.
"""

import asyncio
import sys
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import orjson
import uvicorn

from bench.peers.connections import Place, opener
from bench.peers.statements import Placing, answer, placing

# More made it slower on two cores.
THREADS = 8

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


class App:
    def __init__(self, url: str) -> None:
        self._place = in_loop(opener(url)) if url.startswith("sqlite") else in_threads(opener(url))

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return await live(receive, send)
        raw = await read_body(receive)
        if scope["method"] != "POST":
            return await respond(send, 404, b"{}")
        headers = dict(scope["headers"])
        api_key, key = headers[b"cv-api-key"].decode(), headers[b"idempotency-key"].decode()
        case = scope["path"].rpartition("/")[2]
        order = await self._place(placing(api_key, case, raw, key))
        if order is None:
            return await respond(send, 400, b"{}")
        return await respond(send, 200, orjson.dumps(answer(order)))


def in_loop(connect: Callable[[], Place]) -> Callable[[Placing], Awaitable[str | None]]:
    place = connect()

    async def run(steps: Placing) -> str | None:
        return place(steps)

    return run


def in_threads(connect: Callable[[], Place]) -> Callable[[Placing], Awaitable[str | None]]:
    mine = threading.local()

    def begin() -> None:
        mine.place = connect()

    pool = ThreadPoolExecutor(THREADS, initializer=begin)

    async def run(steps: Placing) -> str | None:
        return await asyncio.get_running_loop().run_in_executor(pool, lambda: mine.place(steps))

    return run


async def live(receive: Receive, send: Send) -> None:
    for phase in ("startup", "shutdown"):
        await receive()
        await send({"type": f"lifespan.{phase}.complete"})


async def read_body(receive: Receive) -> bytes:
    parts = []
    while True:
        message = await receive()
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(parts)


async def respond(send: Send, status: int, body: bytes) -> None:
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


if __name__ == "__main__":
    uvicorn.run(App(sys.argv[1]), port=int(sys.argv[2]), access_log=False, log_level="warning")
