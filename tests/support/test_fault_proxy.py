import asyncio
import time
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import RawTestServer

from tests.support.fault_proxy import HANG, LOST_ANSWER, NONE, RESET, Fault, FaultProxy

ANSWER = b"x" * 100_000


class Target:
    def __init__(self) -> None:
        self.calls = 0

    async def answer(self, request: web.BaseRequest) -> web.Response:
        self.calls += 1
        return web.Response(body=await request.read() or ANSWER)


@pytest.fixture
def target() -> Target:
    return Target()


@pytest.fixture
async def proxy(target: Target) -> AsyncIterator[FaultProxy]:
    async with RawTestServer(target.answer) as server:
        assert server.port is not None
        async with FaultProxy(server.port) as proxy:
            yield proxy


async def post(proxy: FaultProxy, body: bytes = b"", seconds: float = 5) -> bytes:
    url = f"http://127.0.0.1:{proxy.port}/"
    async with (
        asyncio.timeout(seconds),
        aiohttp.ClientSession() as session,
        session.post(url, data=body) as response,
    ):
        return await response.read()


async def test_without_a_fault_it_only_forwards(proxy: FaultProxy) -> None:
    assert await post(proxy) == ANSWER
    assert await post(proxy, b"y" * 300_000) == b"y" * 300_000
    assert proxy.connections == 2


async def test_it_resets_a_connection_before_the_server_sees_it(proxy: FaultProxy, target: Target) -> None:
    proxy.fault = RESET
    with pytest.raises(aiohttp.ClientConnectionError):
        await post(proxy)
    assert target.calls == 0


async def test_it_hangs_and_still_ends_with_its_context(proxy: FaultProxy, target: Target) -> None:
    proxy.fault = HANG
    with pytest.raises(TimeoutError):
        await post(proxy, seconds=0.05)
    assert target.calls == 0


async def test_it_loses_the_answer_to_work_that_was_done(proxy: FaultProxy, target: Target) -> None:
    proxy.fault = LOST_ANSWER
    with pytest.raises(aiohttp.ClientConnectionError):
        await post(proxy)
    assert target.calls == 1


async def test_it_cuts_an_answer_in_the_middle(proxy: FaultProxy) -> None:
    proxy.fault = Fault(cut_after=1000)
    with pytest.raises(aiohttp.ClientError):
        await post(proxy)


async def test_it_lets_an_answer_drip(proxy: FaultProxy) -> None:
    proxy.fault = Fault(bytes_per_second=1000)
    with pytest.raises(TimeoutError):
        await post(proxy, seconds=0.1)


async def test_it_delays_a_connection(proxy: FaultProxy) -> None:
    proxy.fault = Fault(delay=0.1)
    started = time.monotonic()
    assert await post(proxy) == ANSWER
    assert time.monotonic() - started >= 0.1


async def test_it_forwards_again_once_the_fault_is_over(proxy: FaultProxy) -> None:
    proxy.fault = RESET
    with pytest.raises(aiohttp.ClientConnectionError):
        await post(proxy)
    proxy.fault = NONE
    assert await post(proxy) == ANSWER
