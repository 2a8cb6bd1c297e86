"""The way to the sandbox pharmacy, on which requests and answers come to harm."""

import asyncio
import gzip
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp
from aiohttp import web

from case_orders.db import new_id
from tests.support.web import listening

PASSED_ON = ("Content-Type", "Host", "webhook-id", "webhook-timestamp", "webhook-signature")
PASSED_BACK = ("Content-Type", "Retry-After")
BOMB = gzip.compress(bytes(64 * 1024 * 1024))


@dataclass
class Front:
    """Passes everything on to the pharmacy at `target`, except what `fault` takes.

    It speaks for a pharmacy that knows a repeated submission by its Idempotency-Key alone: `keys` has those under which
    an order arrived, and each of them would be a fill.
    """

    target: str
    fault: "Fault | None" = None
    hits: int = 0
    trapped: int = 0
    keys: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    relief: asyncio.Event = field(default_factory=asyncio.Event)
    url: str = ""

    @asynccontextmanager
    async def harmed_by(self, fault: "Fault") -> AsyncIterator[None]:
        """While the block runs, `fault` takes what it takes; what hangs is let go at the end."""
        self.relief.clear()
        self.fault, self.hits = fault, 0
        try:
            yield
        finally:
            self.fault = None
            self.relief.set()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        if request.path == "/inside":
            self.trapped += 1
        if self.fault is not None and request.path.startswith(self.fault.path):
            self.hits += 1
            return await self.fault.meet(self, request)
        return await self.pass_on(request)

    async def pass_on(self, request: web.Request) -> web.Response:
        body = await request.read()
        headers = {name: request.headers[name] for name in PASSED_ON if name in request.headers}
        key = request.headers.get("Idempotency-Key", new_id())
        submission = request.method == "POST" and request.path == "/orders"
        if submission:
            order_id = (await request.json())["orderId"]
            self.keys[order_id].add(key)
            key = order_id
        async with self._session.request(
            request.method, f"{self.target}{request.raw_path}", data=body, headers={**headers, "Idempotency-Key": key}
        ) as answer:
            back = {name: answer.headers[name] for name in PASSED_BACK if name in answer.headers}
            return web.Response(status=answer.status, body=await answer.read(), headers=back)

    @asynccontextmanager
    async def standing(self) -> AsyncIterator[None]:
        app = web.Application()
        app.add_routes([web.route("*", "/{path:.*}", _broken_off_with_the_pharmacy(self.handle))])
        jar = aiohttp.DummyCookieJar()
        async with aiohttp.ClientSession(cookie_jar=jar) as self._session, listening(app) as self.url:
            try:
                yield
            finally:
                self.relief.set()


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def _broken_off_with_the_pharmacy(handle: Handler) -> Handler:
    async def handler(request: web.Request) -> web.StreamResponse:
        try:
            return await handle(request)
        except (aiohttp.ClientError, ConnectionError):
            return _broken_off(request)

    return handler


@dataclass(frozen=True)
class Fault:
    """What comes to harm: requests to paths that begin with `path`; and how."""

    path: str
    meet: "Harm"


Harm = Callable[[Front, web.Request], Awaitable[web.StreamResponse]]


def _broken_off(request: web.Request) -> web.Response:
    if request.transport is not None:
        request.transport.abort()
    return web.Response()


async def hang(front: Front, request: web.Request) -> web.StreamResponse:
    await front.relief.wait()
    return _broken_off(request)


async def reset(front: Front, request: web.Request) -> web.StreamResponse:
    return _broken_off(request)


async def cut_off(front: Front, request: web.Request) -> web.StreamResponse:
    """After it took effect, in the middle of the answer."""
    answer = await front.pass_on(request)
    assert isinstance(answer.body, bytes)
    part = web.StreamResponse(status=answer.status, headers={"Content-Type": answer.content_type})
    part.content_length = len(answer.body)
    await part.prepare(request)
    await part.write(answer.body[: len(answer.body) // 2])
    return _broken_off(request)


async def garbage(front: Front, request: web.Request) -> web.StreamResponse:
    return web.Response(text="<html>It works!</html>", content_type="text/html")


async def broken(front: Front, request: web.Request) -> web.StreamResponse:
    return web.Response(status=500)


async def busy(front: Front, request: web.Request) -> web.StreamResponse:
    return web.Response(status=429, headers={"Retry-After": "1"})


async def late(front: Front, request: web.Request) -> web.StreamResponse:
    """It takes effect, and is answered when nobody waits any more."""
    answer = await front.pass_on(request)
    await front.relief.wait()
    return answer


async def gzip_bomb(front: Front, request: web.Request) -> web.StreamResponse:
    return web.Response(body=BOMB, headers={"Content-Type": "application/pdf", "Content-Encoding": "gzip"})


async def endless(front: Front, request: web.Request) -> web.StreamResponse:
    answer = web.StreamResponse(headers={"Content-Type": "application/pdf"})
    await answer.prepare(request)
    await answer.write(b"%PDF-1.7\n")
    while not front.relief.is_set():
        await answer.write(bytes(64 * 1024))
    return _broken_off(request)


async def truncated(front: Front, request: web.Request) -> web.StreamResponse:
    answer = await front.pass_on(request)
    assert isinstance(answer.body, bytes)
    return web.Response(body=answer.body[: len(answer.body) // 2], content_type="application/pdf")


async def other_type(front: Front, request: web.Request) -> web.StreamResponse:
    answer = await front.pass_on(request)
    return web.Response(body=answer.body, content_type="text/html")


async def other_bytes(front: Front, request: web.Request) -> web.StreamResponse:
    answer = await front.pass_on(request)
    assert isinstance(answer.body, bytes)
    return web.Response(body=answer.body + b"\n%another\n%%EOF\n", content_type="application/pdf")


async def redirect_inward(front: Front, request: web.Request) -> web.StreamResponse:
    return web.Response(status=302, headers={"Location": f"{front.url}/inside"})
