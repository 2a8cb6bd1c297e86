"""Webhook endpoints that keep what they receive, check who signed it, and behave badly when they are told to."""

import asyncio
import json
import time
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from aiohttp import web
from standardwebhooks import Webhook as StandardWebhook

from tests.support.web import listening


@dataclass
class Receiver:
    """One endpoint. `arrivals` has the moments, by the monotonic clock, at which each message came."""

    name: str
    url: str = ""
    webhook_id: str = ""
    secret: str = ""
    status: int = 204
    delay: float = 0
    gone: tuple[datetime, datetime] | None = None
    """Between which moments nobody need tell it of what happens."""
    hits: int = 0
    trapped: int = 0
    messages: dict[str, dict[str, Any]] = field(default_factory=dict)
    arrivals: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    complaints: list[str] = field(default_factory=list)
    waiting: set[str] = field(default_factory=set)

    def was_gone_at(self, moment: datetime) -> bool:
        return self.gone is not None and self.gone[0] < moment < self.gone[1]

    async def receive(self, request: web.Request) -> web.Response:
        message_id, body = request.headers["webhook-id"], await request.read()
        at = datetime.fromtimestamp(int(request.headers["webhook-timestamp"]), UTC)
        if StandardWebhook(self.secret).sign(message_id, at, body.decode()) != request.headers["webhook-signature"]:
            self.complaints.append(f"{self.name} got a message with a wrong signature")
        message = json.loads(body)
        if self.messages.setdefault(message_id, message) != message:
            self.complaints.append(f"{self.name} got two different messages under one id")
        self.arrivals[message_id].append(time.monotonic())
        if self.status != 204 or self.delay:
            self.hits += 1
        return await self._answer(message_id)

    async def _answer(self, message_id: str) -> web.Response:
        status = self.status
        self.waiting.add(message_id)
        try:
            await asyncio.sleep(self.delay)
        finally:
            self.waiting.discard(message_id)
        if status != 204:  # what is not taken must come again
            self.arrivals[message_id].pop()
        return web.Response(status=status, headers={"Location": f"{self.url}inside"} if status == 302 else {})

    async def be_trapped(self, request: web.Request) -> web.Response:
        self.trapped += 1
        return web.Response(status=204)


@asynccontextmanager
async def receiving(name: str) -> AsyncIterator[Receiver]:
    receiver, app = Receiver(name), web.Application()
    app.add_routes([web.post("/", receiver.receive), web.route("*", "/inside", receiver.be_trapped)])
    async with listening(app) as url:
        receiver.url = f"{url}/"
        yield receiver
