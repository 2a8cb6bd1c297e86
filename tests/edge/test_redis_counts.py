"""Rates that several processes keep together, in a real Redis."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from case_orders.edge import redis_counts
from case_orders.edge.rates import Rates
from case_orders.edge.redis_counts import RedisCounts
from case_orders.rate import Rate
from tests.edge.test_rates import OURS, OURS_TOO, WEEK, is_admitted
from tests.support.redis import ThrowawayRedis


@pytest.fixture
def redis() -> Iterator[ThrowawayRedis]:
    with ThrowawayRedis() as server:
        yield server


@pytest.fixture
async def processes(redis: ThrowawayRedis) -> AsyncIterator[list[Rates]]:
    """The rates of two processes: 3 a key, 4 an organization."""
    counts = [RedisCounts(redis.url), RedisCounts(redis.url)]
    yield [Rates({"key": Rate(3, WEEK), "organization": Rate(4, WEEK)}, shared) for shared in counts]
    for shared in counts:
        await shared.close()


async def test_processes_count_together(processes: list[Rates]) -> None:
    one, other = processes
    admitted = [await is_admitted(rates, OURS) for rates in (one, other, one, other, one)]
    assert admitted == [True, True, True, False, False]


async def test_an_organization_is_counted_together_too(processes: list[Rates]) -> None:
    one, other = processes
    assert [await is_admitted(rates, OURS) for rates in (one, other)] == [True, True]
    assert [await is_admitted(rates, OURS_TOO) for rates in (one, other, other)] == [True, True, False]


async def test_requests_at_once_are_not_counted_twice_or_forgotten(processes: list[Rates]) -> None:
    asked = [is_admitted(rates, OURS) for rates in processes for _ in range(50)]
    assert (await asyncio.gather(*asked)).count(True) == 3


async def test_what_redis_holds_goes_with_its_window_and_names_no_key(
    redis: ThrowawayRedis, processes: list[Rates]
) -> None:
    await is_admitted(processes[0], OURS)
    names = redis.command("KEYS", "*")
    assert sorted(name.rpartition(":")[0] for name in names) == [
        "case-orders:key:key 1",
        "case-orders:organization:ours",
    ]
    assert all(0 < int(redis.command("TTL", name)[0]) <= WEEK for name in names)


async def test_without_redis_requests_go_on_and_each_process_counts_for_itself(
    redis: ThrowawayRedis, processes: list[Rates], capsys: pytest.CaptureFixture[str]
) -> None:
    one, other = processes
    assert await is_admitted(one, OURS)
    redis.kill()
    assert [await is_admitted(one, OURS) for _ in range(3)] == [True, True, False]
    assert await asyncio.gather(*(is_admitted(other, OURS) for _ in range(3))) == [True, True, True]
    logged = capsys.readouterr().out
    assert logged.count("rate store away") == 2  # once for each process
    assert str(redis.socket) not in logged


async def test_redis_is_asked_again_after_a_while(
    redis: ThrowawayRedis, processes: list[Rates], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_counts, "_AWAY_SECONDS", 0)
    one, other = processes
    redis.kill()
    assert await is_admitted(one, OURS)
    redis.start()
    assert [await is_admitted(other, OURS) for _ in range(3)] == [True, True, True]
    assert not await is_admitted(one, OURS)


async def test_a_redis_that_hangs_holds_a_request_up_for_a_moment_only(
    redis: ThrowawayRedis, processes: list[Rates]
) -> None:
    redis.pause()
    try:
        async with asyncio.timeout(5):
            assert [await is_admitted(processes[0], OURS) for _ in range(3)] == [True, True, True]
    finally:
        redis.resume()
