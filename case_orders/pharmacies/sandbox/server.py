"""The sandbox pharmacy's HTTP side."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from case_orders.pharmacies.sandbox.behaviours import Behaviour, behaviour_of
from case_orders.pharmacies.sandbox.book import BookedOrder, OrderBook
from case_orders.pharmacies.sandbox.pharmacist import Pharmacist
from case_orders.pharmacies.sandbox.reports import Reporter
from case_orders.pharmacies.signing import verify_request

REQUIRED = frozenset(
    {
        "orderId",
        "callbackUrl",
        "placedAt",
        "patient",
        "shippingAddress",
        "prescriber",
        "diagnosis",
        "items",
    }
)

LOOPBACK = frozenset({"127.0.0.1", "::1"})


async def serve(
    host: str,
    port: int,
    request_secret: str,
    report_secret: str,
    data_dir: Path,
    pace: float = 0.5,
) -> None:
    """Be a pharmacy until canceled. `pace` is the time between two states in seconds."""
    runner = web.AppRunner(make_app(request_secret, report_secret, data_dir, pace), access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        await asyncio.Event().wait()
    finally:
        await runner.cleanup()


def make_app(request_secret: str, report_secret: str, data_dir: Path, pace: float = 0.5) -> web.Application:
    """The pharmacy as an application; it works through `data_dir/orders.sqlite3` while it runs."""
    counter = Counter(data_dir / "orders.sqlite3", report_secret, pace)
    app = web.Application(middlewares=[_signed_with(request_secret)])
    app.cleanup_ctx.append(counter.run)
    app.add_routes(
        [
            web.post("/orders", counter.submit),
            web.get("/orders/{order_id}", counter.look_up),
            web.post("/orders/{order_id}/cancel", counter.cancel),
            web.get("/documents/{order_id}/prescription", counter.document),
            web.get("/sandbox/orders", counter.summary),
        ]
    )
    return app


def _signed_with(secret: str) -> Middleware:
    @web.middleware
    async def verify(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path != "/sandbox/orders":
            body = await request.read()
            if not verify_request(secret, request.headers, request.method, request.raw_path, body):
                raise web.HTTPUnauthorized
        return await handler(request)

    return verify


class Counter:
    """Where requests are answered; the pharmacist behind it does the work."""

    book: OrderBook
    pharmacist: Pharmacist

    def __init__(self, book_path: Path, report_secret: str, pace: float) -> None:
        self.book_path = book_path
        self.report_secret = report_secret
        self.pace = pace

    async def run(self, _: web.Application) -> AsyncIterator[None]:
        """Open the book, go on with what is open; stop and close it when the application ends."""
        with contextlib.closing(OrderBook(self.book_path)) as self.book:
            async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:
                reporter = Reporter(self.book, self.report_secret, session, self.pace)
                self.pharmacist = Pharmacist(self.book, reporter, self.pace)
                self.pharmacist.resume()
                yield
                await self.pharmacist.stop()

    async def submit(self, request: web.Request) -> web.Response:
        order = _object(await request.read())
        if missing := REQUIRED - order.keys():
            raise web.HTTPBadRequest(text="missing: " + ", ".join(sorted(missing)))
        if request.headers.get("Idempotency-Key") != order["orderId"]:
            raise web.HTTPBadRequest(text="Idempotency-Key does not fit the order")
        submissions = self.book.count_submission(order["orderId"])
        booked = self.book.find(order["orderId"])
        if booked is None:
            return await self._take(request, order, submissions)
        if booked.content != order:
            raise web.HTTPConflict
        return _accepted(booked)

    async def _take(self, request: web.Request, order: dict[str, Any], submissions: int) -> web.Response:
        behaviour = behaviour_of(order)
        if behaviour.refusal:
            return web.json_response({"reason": behaviour.refusal}, status=422)
        if submissions <= behaviour.garbled:
            return web.Response(text="<html>It works!</html>", content_type="text/html")
        if submissions <= behaviour.unavailable:
            raise _unavailable(submissions)
        booked = self.book.take(order, str(request.url.origin()))
        self.pharmacist.begin(booked.id)
        await self._dawdle(request, behaviour)
        return _accepted(booked)

    async def _dawdle(self, request: web.Request, behaviour: Behaviour) -> None:
        await asyncio.sleep(behaviour.answer_paces * self.pace)
        if behaviour.cut_off and request.transport is not None:
            request.transport.abort()

    async def look_up(self, request: web.Request) -> web.Response:
        return web.json_response(self._order(request).report)

    async def cancel(self, request: web.Request) -> web.Response:
        order = self._order(request)
        if not request.headers.get("Idempotency-Key", "").startswith("cancel-"):
            raise web.HTTPBadRequest(text="Idempotency-Key does not fit a cancel request")
        answer = self.pharmacist.cancel(order)
        return web.json_response({}, status=202) if answer is None else web.json_response(answer)

    async def document(self, request: web.Request) -> web.Response:
        order = self._order(request)
        if "documents" not in order.report:
            raise web.HTTPNotFound
        return web.Response(body=await self.pharmacist.document(order), content_type="application/pdf")

    async def summary(self, request: web.Request) -> web.Response:
        """What became of which order, for tests and people on this machine."""
        if request.remote not in LOOPBACK:
            raise web.HTTPForbidden
        return web.json_response({"orders": self.book.summary()})

    def _order(self, request: web.Request) -> BookedOrder:
        order = self.book.find(request.match_info["order_id"])
        if order is None:
            raise web.HTTPNotFound
        return order


def _object(body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(body)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise web.HTTPBadRequest(text="the body is not a JSON object")
    return value


def _accepted(order: BookedOrder) -> web.Response:
    return web.json_response({"reference": order.reference}, status=202)


def _unavailable(submissions: int) -> web.HTTPServiceUnavailable:
    """The second answer says when to come again, the first does not."""
    return web.HTTPServiceUnavailable(headers={"Retry-After": "1"} if submissions > 1 else None)
