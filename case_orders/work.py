"""What a job's function works with, and the ways in which it ends.

A function ends by `Context.complete`, which stores what it did and the end of the job in one transaction; by
`Again`, to be tried once more; or by `GiveUp`. Any other error counts as `Again`.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, TypeVar

from sqlmodel import Session

from case_orders import audit, outbox
from case_orders.db import UNAVAILABLE, Busy, Database, Uncertain
from case_orders.documents import DocumentStore
from case_orders.gathering import Gathering
from case_orders.links import Links
from case_orders.outbound import Outbound
from case_orders.outbox import LeaseLost
from case_orders.settings import Settings
from models.jobs import Claimed

A = TypeVar("A")
B = TypeVar("B")
Together = Callable[[Session, Sequence[A]], Sequence[B]]
Ending = Callable[[Session, Settings, Sequence[A]], object]
Beginning = Callable[[Session, Settings, Sequence[A]], Sequence[B]]


class Again(Exception):
    """The job did not succeed and may succeed later: after the pause of its attempt, and not before `delay`."""

    def __init__(self, reason: str, delay: timedelta = timedelta()) -> None:
        super().__init__(reason)
        self.reason = reason
        self.delay = delay


class GiveUp(Exception):
    """The job cannot succeed; a person has to look at it."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


# The database is away, or did who knows what: to ask it again for each alone would take long, or do things twice.
_AWAY = (Busy, Uncertain, *UNAVAILABLE)


@dataclass(frozen=True, slots=True)
class Context:
    """What the functions of jobs share in one worker.

    Webhooks are called by `outbound_to_webhooks`, all else by `outbound`.
    """

    settings: Settings
    database: Database
    outbound: Outbound
    outbound_to_webhooks: Outbound
    documents: DocumentStore
    links: Links
    _gatherings: dict[tuple[str, Callable[..., Any]], Gathering[Any, Any]] = field(default_factory=dict)

    async def complete(
        self, job: Claimed, act: Callable[[Session], Any] = lambda session: None, *, holds: bool = False
    ) -> None:
        """Run `act`, if there is anything to do, and end the job: both or neither.

        `holds` is as with `Database.write`: whoever changes an order holds it and its case.
        Raises `LeaseLost` if another worker has the job by now.
        """

        def both(session: Session) -> None:
            outbox.finish(session, job)
            act(session)
            audit.record(session, audit.of_job(job, "done"))

        await self.database.write(both, holds=holds)

    async def complete_together(self, job: Claimed, act: Ending[A], subject: A) -> None:
        """The same for a module's function `act`: jobs that end by it at the same time are ended by one call of it."""

        def both(session: Session, ended: Sequence[tuple[Claimed, A]]) -> list[bool]:
            held = outbox.finish_all(session, [job for job, _ in ended])
            act(session, self.settings, [subject for job, subject in ended if job.id in held])
            for job, _ in ended:
                if job.id in held:
                    audit.record(session, audit.of_job(job, "done"))
            return [job.id in held for job, _ in ended]

        if not await self._gathering(("complete", act), self._write, both).ask((job, subject)):
            raise LeaseLost

    async def hold_together(self, job: Claimed, act: Beginning[A, B], subject: A) -> B:
        """What `act` answers for `subject`, as above, without the end of the job."""

        def checked(session: Session, begun: Sequence[tuple[Claimed, A]]) -> list[B | LeaseLost]:
            held = outbox.hold_all(session, [job for job, _ in begun])
            answers = iter(act(session, self.settings, [subject for job, subject in begun if job.id in held]))
            return [next(answers) if job.id in held else LeaseLost() for job, _ in begun]

        answer: B | LeaseLost = await self._gathering(("hold", act), self._write, checked).ask((job, subject))
        if isinstance(answer, LeaseLost):
            raise answer
        return answer

    async def read_together(self, read: Together[A, B], subject: A) -> B:
        """What `read` answers for `subject`; jobs that ask at the same time are answered by one reading."""
        answer: B = await self._gathering(("read", read), self.database.read, read).ask(subject)
        return answer

    async def write_together(self, write: Together[A, B], subject: A) -> B:
        """The same for a function that writes. It must not fail for one in a way that spoils the others."""
        answer: B = await self._gathering(("write", write), self._write, write).ask(subject)
        return answer

    async def _write(self, work: Callable[[Session], Any], begin: Callable[[], object]) -> Any:
        return await self.database.write(work, begin=begin, holds=True)

    def _gathering(
        self, key: tuple[str, Callable[..., Any]], door: Callable[..., Awaitable[Any]], act: Together[Any, Any]
    ) -> Gathering[Any, Any]:
        if key not in self._gatherings:

            def together(begin: Callable[[], Sequence[Any]]) -> Awaitable[Sequence[Any]]:
                # What is asked once the transaction is under way may be about what it does not see.
                return door(lambda session: act(session, asked) if (asked := begin()) else [], begin=begin)

            self._gatherings[key] = Gathering(together, _AWAY)
        return self._gatherings[key]
