"""Batches: what waits is run together in one thread, and by another only where the first takes long."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import pytest
from sqlmodel import Session

from case_orders.batches import Batches, Busy, Outcome, Pending

ran: list[int] = []


def run(batch: Sequence[Pending]) -> list[Outcome]:
    ran.append(len(batch))
    return [(pending.work(Session()), None) for pending in batch]


@pytest.fixture
async def new_batches() -> AsyncIterator[Callable[..., Batches]]:
    ran.clear()
    made: list[Batches] = []

    def new(**options: Any) -> Batches:
        usual = {"threads": 2, "name": "test", "at_once": 9, "most_waiting": 9, "patience_seconds": 9, "too_late": Busy}
        made.append(Batches(run, **usual | options))
        return made[-1]

    yield new
    for batches in made:
        await batches.close()


async def begun(batches: Batches, work: Callable[[Session], object], times: int = 1) -> list[asyncio.Task[object]]:
    tasks = [asyncio.create_task(batches.run(work)) for _ in range(times)]
    await turns(3)
    return tasks


async def turns(count: int) -> None:
    """Let the event loop go round so often."""
    for _ in range(count):
        await asyncio.sleep(0)


async def test_what_comes_while_a_batch_runs_is_the_next_batch(new_batches: Callable[..., Batches]) -> None:
    batches, may_end = new_batches(), threading.Event()
    first = await begun(batches, lambda _: may_end.wait())
    others = await begun(batches, lambda _: None, times=5)
    may_end.set()
    await asyncio.gather(*first, *others)
    assert ran == [1, 5]


async def test_those_who_come_one_after_the_other_without_a_pause_share_a_batch(
    new_batches: Callable[..., Batches],
) -> None:
    batches = new_batches()

    async def client(number: int) -> None:
        for _ in range(2):
            await turns(number)
            await batches.run(lambda _: None)

    await asyncio.gather(*map(client, range(1, 9)))
    assert ran == [8, 8]


async def test_no_two_pieces_that_hold_rows_share_a_transaction(new_batches: Callable[..., Batches]) -> None:
    """They would hold rows in the order of the one and then in that of the other."""
    batches = new_batches()
    holding = [False, True, False, True, True, False]
    await asyncio.gather(*(batches.run(lambda _: None, holds=holds) for holds in holding))
    assert ran == [3, 1, 2]


async def test_who_came_first_does_not_wait_for_all_that_keep_coming(
    new_batches: Callable[..., Batches], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("case_orders.batches._TAKES_IN_SECONDS", 0)
    batches = new_batches()

    async def client(number: int) -> None:
        await turns(number)
        await batches.run(lambda _: None)

    await asyncio.gather(*map(client, range(1, 9)))
    assert ran[0] == 1


async def test_of_two_threads_that_are_free_at_once_only_one_takes_what_waits(
    new_batches: Callable[..., Batches], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("case_orders.batches._GIVES_WAY_AFTER_SECONDS", 0.001)
    batches, may_end = new_batches(), [threading.Event(), threading.Event()]
    work = [asyncio.create_task(batches.run(lambda _, end=end: end.wait())) for end in may_end[:1]]
    while len(ran) < 1:
        await asyncio.sleep(0.005)
    work.append(asyncio.create_task(batches.run(lambda _: may_end[1].wait())))
    while len(ran) < 2:
        await asyncio.sleep(0.005)
    work.append(asyncio.create_task(batches.run(lambda _: None)))
    await asyncio.sleep(0.01)
    for end in may_end:
        end.set()
    time.sleep(0.05)  # noqa: ASYNC251  both are free by the time that the event loop looks
    await asyncio.gather(*work)
    assert ran == [1, 1, 1]


async def test_a_batch_that_takes_long_holds_nobody_up_while_there_is_another_thread(
    new_batches: Callable[..., Batches],
) -> None:
    batches, may_end = new_batches(), threading.Event()
    first = await begun(batches, lambda _: may_end.wait())
    for _ in range(2):  # one that waits already, and one that comes later
        await asyncio.wait_for(batches.run(lambda _: None), 5)
    assert not first[0].done()
    may_end.set()
    await asyncio.gather(*first)


async def test_with_one_thread_everything_waits_its_turn(new_batches: Callable[..., Batches]) -> None:
    batches, may_end = new_batches(threads=1), threading.Event()
    first = await begun(batches, lambda _: may_end.wait())
    others = await begun(batches, lambda _: None, times=3)
    await asyncio.sleep(0.2)
    assert not any(other.done() for other in others)
    may_end.set()
    await asyncio.gather(*first, *others)
    assert ran == [1, 3]


async def test_no_more_than_so_many_may_wait(new_batches: Callable[..., Batches]) -> None:
    batches, may_end = new_batches(threads=1, most_waiting=2), threading.Event()
    tasks = await begun(batches, lambda _: may_end.wait())
    tasks += await begun(batches, lambda _: None, times=2)
    with pytest.raises(Busy):
        await batches.run(lambda _: None)
    may_end.set()
    await asyncio.gather(*tasks)
