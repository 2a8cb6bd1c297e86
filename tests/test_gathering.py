"""Calls that come together: made as one, answered each on its own."""

import asyncio
from collections.abc import Callable, Sequence

import pytest

from case_orders.gathering import Gathering


class Doubling:
    """Doubles numbers, several at a time, and remembers which came together; a negative one spoils its call."""

    def __init__(self) -> None:
        self.calls: list[list[int]] = []
        self.may_go_on = asyncio.Event()

    async def act(self, begin: Callable[[], Sequence[int]]) -> list[int]:
        numbers = begin()
        self.calls.append(list(numbers))
        await self.may_go_on.wait()
        if min(numbers) < 0:
            raise ValueError("negative")
        return [2 * number for number in numbers]


async def asked(gathering: Gathering[int, int], *numbers: int) -> list[asyncio.Task[int]]:
    """One task for each number; each has asked when this returns."""
    tasks = [asyncio.create_task(gathering.ask(number)) for number in numbers]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    return tasks


async def test_what_is_asked_before_a_call_begins_is_answered_by_it_and_what_is_asked_later_by_the_next_one() -> None:
    doubling = Doubling()
    queue = asyncio.Lock()

    async def in_turn(begin: Callable[[], Sequence[int]]) -> list[int]:
        async with queue:
            return await doubling.act(begin)

    gathering = Gathering(in_turn)
    tasks = await asked(gathering, 1) + await asked(gathering, 2) + await asked(gathering, 3)
    doubling.may_go_on.set()
    assert await asyncio.gather(*tasks) == [2, 4, 6]
    assert doubling.calls == [[1], [2, 3]]


async def test_a_call_that_has_to_begin_anew_is_asked_the_same_again() -> None:
    begun: list[Sequence[int]] = []

    async def act(begin: Callable[[], Sequence[int]]) -> Sequence[int]:
        begun.append(begin())
        await asyncio.sleep(0.01)
        begun.append(begin())
        return begin()

    gathering = Gathering(act)
    first = await asked(gathering, 1)
    assert await asyncio.gather(*first, *await asked(gathering, 2)) == [1, 2]
    assert begun == [[1], [2], [1], [2]]


async def test_a_call_that_fails_before_it_begins_leaves_nobody_waiting() -> None:
    async def act(begin: Callable[[], Sequence[int]]) -> Sequence[int]:
        raise ValueError

    tasks = await asked(Gathering(act, (ValueError,)), 1, 2)
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(result) for result in results] == [ValueError, ValueError]


async def test_what_spoils_a_call_fails_alone() -> None:
    doubling = Doubling()
    doubling.may_go_on.set()
    tasks = await asked(Gathering(doubling.act), 1, -1, 2)
    good, bad, other = await asyncio.gather(*tasks, return_exceptions=True)
    assert (good, other) == (2, 4)
    assert isinstance(bad, ValueError)


async def test_who_is_cancelled_takes_nobody_along() -> None:
    doubling = Doubling()
    first, second = await asked(Gathering(doubling.act), 1, 2)
    first.cancel()
    doubling.may_go_on.set()
    assert await second == 4
    with pytest.raises(asyncio.CancelledError):
        await first


async def test_a_failure_that_is_final_is_everybodys_and_the_call_is_not_made_again() -> None:
    doubling = Doubling()
    doubling.may_go_on.set()
    tasks = await asked(Gathering(doubling.act, (ValueError,)), 1, -2)
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(result) for result in results] == [ValueError, ValueError]
    assert doubling.calls == [[1, -2]]


async def test_a_call_that_was_given_up_takes_nobody_with_it() -> None:
    begins: list[Callable[[], Sequence[int]]] = []

    async def act(begin: Callable[[], Sequence[int]]) -> Sequence[int]:
        begins.append(begin)
        if len(begins) == 1:
            raise TimeoutError
        return [2 * number for number in begin()]

    gathering = Gathering(act)
    given_up = asyncio.create_task(gathering.ask(1))
    await asyncio.sleep(0)
    given_up.cancel()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    task = asyncio.create_task(gathering.ask(2))
    await asyncio.sleep(0)
    assert begins[0]() == []
    assert await task == 4
