"""Calls that come at the same time, made as one."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

A = TypeVar("A")
B = TypeVar("B")


class Gathering(Generic[A, B]):
    """Makes one call of `act` for all that is asked while the one before it is under way. Nobody waits for a timer.

    `act` answers in the order of its arguments. If it fails for several, it is called for each of them alone; but a
    failure of the kinds `final` is not tried again.
    """

    def __init__(
        self, act: Callable[[Sequence[A]], Awaitable[Sequence[B]]], final: tuple[type[Exception], ...] = ()
    ) -> None:
        self._act = act
        self._final = final
        self._waiting: list[tuple[A, asyncio.Future[B]]] = []
        self._calls: asyncio.Task[None] | None = None

    async def ask(self, argument: A) -> B:
        answer: asyncio.Future[B] = asyncio.get_running_loop().create_future()
        self._waiting.append((argument, answer))
        if self._calls is None or self._calls.done():
            self._calls = asyncio.create_task(self._call_until_empty())
        return await answer

    async def _call_until_empty(self) -> None:
        while self._waiting:
            asked = [one for one in self._waiting if not one[1].done()]  # else nobody waits for it any longer
            self._waiting = []
            try:
                await self._call(asked)
            except self._final as failure:
                for _, future in asked:
                    _fail(future, failure)
            except Exception:
                for one in asked:
                    await self._call_alone(one)

    async def _call(self, asked: Sequence[tuple[A, "asyncio.Future[B]"]]) -> None:
        answers = await self._act([argument for argument, _ in asked])
        for (_, future), answer in zip(asked, answers, strict=True):
            if not future.done():
                future.set_result(answer)

    async def _call_alone(self, one: tuple[A, "asyncio.Future[B]"]) -> None:
        try:
            await self._call([one])
        except Exception as failure:
            _fail(one[1], failure)


def _fail(future: "asyncio.Future[B]", failure: Exception) -> None:
    if not future.done():
        future.set_exception(failure)
