"""A load balancer such as every platform has: it sends requests to the hosts that say that they are ready.

A request goes to another host only if no connection came about: nothing of it was sent then.
"""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp
from aiohttp import web

from tests.support.web import listening

ASK_EVERY_SECONDS = 0.2
PATIENCE = aiohttp.ClientTimeout(total=30, connect=1)
# Of one connection, not of the message (RFC 9110, section 7.6.1).
HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "host", "content-length"}


@dataclass
class Balancer:
    """`url` is where it listens; `ready` are the hosts that get requests."""

    hosts: Sequence[str]
    session: aiohttp.ClientSession
    url: str = ""
    ready: set[str] = field(default_factory=set)
    _turn: "itertools.count[int]" = field(default_factory=itertools.count)

    async def watch(self) -> None:
        while True:
            await asyncio.gather(*map(self._ask, self.hosts))
            await asyncio.sleep(ASK_EVERY_SECONDS)

    async def _ask(self, host: str) -> None:
        is_ready = False
        with contextlib.suppress(aiohttp.ClientError, TimeoutError):
            async with self.session.get(f"{host}/readyz", timeout=aiohttp.ClientTimeout(total=1)) as answer:
                is_ready = answer.status == 200
        (self.ready.add if is_ready else self.ready.discard)(host)

    async def until_ready(self, *hosts: str) -> None:
        """Returns when exactly these hosts are ready."""
        async with asyncio.timeout(60):
            while self.ready != set(hosts):
                await asyncio.sleep(0.05)

    async def forward(self, request: web.Request) -> web.Response:
        body = await request.read()
        headers = {name: value for name, value in request.headers.items() if name.lower() not in HOP_BY_HOP}
        ready, turn = sorted(self.ready), next(self._turn)
        for host in ready[turn % len(ready) :] + ready[: turn % len(ready)] if ready else []:
            try:
                async with self.session.request(
                    request.method, host + request.raw_path, headers=headers, data=body, allow_redirects=False
                ) as answer:
                    kept = {name: value for name, value in answer.headers.items() if name.lower() not in HOP_BY_HOP}
                    return web.Response(status=answer.status, body=await answer.read(), headers=kept)
            except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError):
                continue
            except (aiohttp.ClientError, TimeoutError) as failure:
                return web.Response(status=502, text=type(failure).__name__)
        return web.Response(status=503)


@asynccontextmanager
async def balancing(address: str, port: int, hosts: Sequence[str]) -> AsyncIterator[Balancer]:
    """A balancer at `address` before `hosts`, which are URLs."""
    async with aiohttp.ClientSession(timeout=PATIENCE, connector=aiohttp.TCPConnector(force_close=True)) as session:
        balancer = Balancer(hosts, session, f"http://{address}:{port}")
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", balancer.forward)
        async with listening(app, port, address):
            watching = asyncio.create_task(balancer.watch())
            try:
                yield balancer
            finally:
                watching.cancel()
                await asyncio.gather(watching, return_exceptions=True)
