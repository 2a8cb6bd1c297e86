"""Calls that come at the same time, made as one."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Generic, TypeVar

A = TypeVar("A")
B = TypeVar("B")


@dataclass(frozen=True, slots=True, eq=False)
class _Question(Generic[A, B]):
    argument: A
    answer: "asyncio.Future[B]"


class Gathering(Generic[A, B]):
    """Makes one call of `act` for all that is asked before it begins. Nobody waits for a timer.

    `act` gets a function that tells what is asked, to be called when the work begins: not later, since whoever asks
    from then on relies on what may have happened since. Called again it tells the same. The answers come in the order
    of what is asked. If `act` fails for several, it is called for each of them alone; but a failure of the kinds
    `final` is not tried again.
    """

    def __init__(
        self,
        act: Callable[[Callable[[], Sequence[A]]], Awaitable[Sequence[B]]],
        final: tuple[type[Exception], ...] = (),
    ) -> None:
        self._act = act
        self._final = final
        self._waiting: deque[_Question[A, B]] = deque()
        self._is_called = False
        self._calls: set[asyncio.Task[None]] = set()

    async def ask(self, argument: A) -> B:
        question: _Question[A, B] = _Question(argument, asyncio.get_running_loop().create_future())
        self._waiting.append(question)
        if not self._is_called:
            self._is_called = True
            call = asyncio.create_task(self._call())
            self._calls.add(call)
            call.add_done_callback(self._calls.discard)
        return await question.answer

    async def _call(self) -> None:
        taken = cache(self._take)  # once, whatever happens

        def begin() -> Sequence[A]:
            return [question.argument for question in taken()]

        try:
            answers = await self._act(begin)
            _answer(taken(), answers)
        except Exception as failure:
            asked = taken()  # it may have failed before
            if len(asked) == 1 or isinstance(failure, self._final):
                _fail(asked, failure)
            else:
                await asyncio.gather(*(self._call_alone(question) for question in asked))

    def _take(self) -> list[_Question[A, B]]:
        """What was asked until now. Whoever asks from here on waits for another call, which may find nothing left."""
        self._is_called = False
        asked = []
        while self._waiting:
            question = self._waiting.popleft()
            if not question.answer.done():  # else nobody waits for it any longer
                asked.append(question)
        return asked

    async def _call_alone(self, question: _Question[A, B]) -> None:
        try:
            _answer([question], await self._act(lambda: [question.argument]))
        except Exception as failure:
            _fail([question], failure)


def _answer(asked: Sequence[_Question[A, B]], answers: Sequence[B]) -> None:
    for question, answer in zip(asked, answers, strict=True):
        if not question.answer.done():
            question.answer.set_result(answer)


def _fail(asked: Sequence[_Question[A, B]], failure: Exception) -> None:
    for question in asked:
        if not question.answer.done():
            question.answer.set_exception(failure)
