"""Work on the database that waits at the same time is run together, in a thread. Nobody waits for a timer."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy.exc import DBAPIError
from sqlmodel import Session

from case_orders.shared_session import Ask, SharedSession

T = TypeVar("T")
Work = Callable[[Session], T]
Function = TypeVar("Function", bound=Callable[..., Any])


class Busy(Exception):
    """The database does not keep up: too much waits for it, or a read had to wait for too long."""


@dataclass(slots=True)
class Pending:
    """A piece of work, what it will look up, who wants to know when it begins, and who waits for it.

    It `holds` if it locks many rows, in an order of its own.
    """

    work: Work[Any]
    asks: Sequence[Ask]
    begin: Callable[[], object]
    holds: bool
    outcome: asyncio.Future[Any]

    @property
    def is_awaited(self) -> bool:
        return not self.outcome.cancelled()


def nothing() -> None:
    """Nobody wants to know."""


def holding(handler: Function) -> Function:
    """Say of a handler that it `holds` many rows: those of an order, and of its case."""
    handler.holds = True  # type: ignore[attr-defined]  # mypy knows no attributes of functions
    return handler


def holds(handler: Callable[..., Any]) -> bool:
    """Whether that was said of a handler."""
    return getattr(handler, "holds", False)


Outcome = tuple[Any, BaseException | None]
"""What a piece of work returned, or raised."""


# For so long a batch may have its thread before another thread takes what waits meanwhile.
_GIVES_WAY_AFTER_SECONDS = 0.05
# About as long as a batch takes: whoever came first waits for one more at most.
_TAKES_IN_SECONDS = 0.02


class Batches:
    """Runs whatever work is waiting, at most so much `at_once`, in a thread.

    A batch is what arrived while the thread was at work: the more, the cheaper is each. Only where a batch takes long
    does another one of the `threads` go on with what waits.
    """

    def __init__(
        self,
        run: Callable[[Sequence[Pending]], list[Outcome]],
        *,
        threads: int,
        name: str,
        at_once: int,
        most_waiting: int,
        patience_seconds: float,
        too_late: type[Exception],
    ) -> None:
        """`too_late` is raised to whom patience ends."""
        self._run = run
        self._at_once = at_once
        self._most_waiting = most_waiting
        self._patience_seconds = patience_seconds
        self._too_late = too_late
        self._waiting: deque[Pending] = deque()
        self._lanes: list[asyncio.Task[Any]] = []
        self._late_lanes: set[asyncio.Task[Any]] = set()
        self._most_lanes = threads
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix=name)

    async def run(
        self,
        work: Work[T],
        asks: Sequence[Ask] = (),
        begin: Callable[[], object] = nothing,
        *,
        holds: bool = False,
    ) -> T:
        """What `work` returns. What it `asks` is looked up for the whole batch beforehand.

        `begin` is called once, in the event loop, just before the transaction in which `work` runs.
        Of work that `holds` no two pieces share a transaction: it would hold rows in the order of the one and then in
        that of the other, and two transactions would wait for each other.
        Raises what `work` raises, `Busy` at once if too much waits, or `too_late`.
        """
        if len(self._waiting) >= self._most_waiting:
            raise Busy
        pending = Pending(work, asks, begin, holds, asyncio.get_running_loop().create_future())
        self._waiting.append(pending)
        self._open_lane_if_needed()
        try:
            async with asyncio.timeout(self._patience_seconds):
                result: T = await pending.outcome
        except TimeoutError:
            raise self._too_late from None
        return result

    def _open_lane_if_needed(self) -> None:
        self._lanes = [lane for lane in self._lanes if not lane.done()]
        all_are_late = self._late_lanes.issuperset(self._lanes)
        if self._waiting and all_are_late and len(self._lanes) < self._most_lanes:
            self._lanes.append(asyncio.create_task(self._run_until_empty()))

    async def _run_until_empty(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            await self._take_in()
            batch = self._next_batch()
            if not batch:  # another lane took them meanwhile
                break
            for pending in batch:
                if pending.is_awaited:
                    pending.begin()
            try:
                with self._giving_way():
                    outcomes = await loop.run_in_executor(self._threads, self._run, batch)
            except Exception as failure:  # nobody may be left waiting
                outcomes = [(None, failure)] * len(batch)
            for pending, outcome in zip(batch, outcomes, strict=True):
                _tell(pending, outcome)

    def _next_batch(self) -> list[Pending]:
        batch: list[Pending] = []
        holds = False
        while self._waiting and len(batch) < self._at_once and not (holds and self._waiting[0].holds):
            holds = holds or self._waiting[0].holds
            batch.append(self._waiting.popleft())
        return batch

    async def _take_in(self) -> None:
        """Let the event loop hand over what has arrived by now, but not for long if more keeps arriving.

        Else, of those who ask again once they are answered, the first would have a batch alone, and all others wait.
        """
        loop = asyncio.get_running_loop()
        seen, latest = 0, loop.time() + _TAKES_IN_SECONDS
        while seen < len(self._waiting) < self._at_once and loop.time() < latest:
            seen = len(self._waiting)
            await asyncio.sleep(0)

    @contextmanager
    def _giving_way(self) -> Iterator[None]:
        """While a batch runs: once it takes long, another lane is opened for whoever waits or comes."""
        lane = asyncio.current_task()
        assert lane is not None

        def give_way() -> None:
            self._late_lanes.add(lane)
            self._open_lane_if_needed()

        timer = asyncio.get_running_loop().call_later(_GIVES_WAY_AFTER_SECONDS, give_way)
        try:
            yield
        finally:
            timer.cancel()
            self._late_lanes.discard(lane)

    async def close(self) -> None:
        """Wait for what is under way."""
        if self._lanes:
            await asyncio.wait(self._lanes)
        self._threads.shutdown()


def _tell(pending: Pending, outcome: Outcome) -> None:
    result, error = outcome
    if not pending.is_awaited:
        return
    if error is None:
        pending.outcome.set_result(result)
    else:
        pending.outcome.set_exception(error)


class Entangled(Exception):
    """A piece of work failed whose changes cannot be told from those of the others."""


def in_one_session(session: SharedSession, batch: Sequence[Pending]) -> list[Outcome]:
    """Run a batch, one piece after the other. Raises `Entangled`, or what the database objects to."""
    if len(batch) > 1:
        session.foresee(ask for pending in batch for ask in pending.asks)
    return [_in_turn(session, pending) for pending in batch]


def _in_turn(session: SharedSession, pending: Pending) -> Outcome:
    if not pending.is_awaited:
        return None, None
    with session.work():
        try:
            return pending.work(session), None
        except DBAPIError:
            raise
        except Exception as failure:
            if session.has_written:
                raise Entangled from failure
            return None, failure
