"""What a job's function works with, and the ways in which it ends.

A function ends by `Context.complete`, which stores what it did and the end of the job in one transaction; by
`Again`, to be tried once more; or by `GiveUp`. Any other error counts as `Again`.
"""

from collections.abc import Callable, Sequence
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
from case_orders.settings import Settings
from models import Job

A = TypeVar("A")
B = TypeVar("B")
Together = Callable[[Session, Sequence[A]], Sequence[B]]


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
    """What the functions of jobs share in one worker."""

    settings: Settings
    database: Database
    outbound: Outbound
    documents: DocumentStore
    links: Links
    _gatherings: dict[Together[Any, Any], Gathering[Any, Any]] = field(default_factory=dict)

    async def complete(self, job: Job, act: Callable[[Session], Any] = lambda session: None) -> None:
        """Run `act`, if there is anything to do, and end the job: both or neither.

        Raises `LeaseLost` if another worker has the job by now.
        """

        def both(session: Session) -> None:
            outbox.finish(session, job)
            act(session)
            audit.record(session, audit.of_job(job, "done"))

        await self.database.write(both)

    async def hold(self, job: Job, act: Callable[[Session], Any]) -> Any:
        """Run `act`, which does not end the job, unless another worker has it by now (`LeaseLost`)."""

        def checked(session: Session) -> Any:
            outbox.require_lease(session, job)
            return act(session)

        return await self.database.write(checked)

    async def read_together(self, read: Together[A, B], subject: A) -> B:
        """What `read` answers for `subject`; jobs that ask at the same time are answered by one reading."""
        if read not in self._gatherings:
            self._gatherings[read] = Gathering(
                lambda subjects: self.database.read(lambda session: read(session, subjects)), _AWAY
            )
        answer: B = await self._gatherings[read].ask(subject)
        return answer

    async def write_together(self, write: Together[A, B], subject: A) -> B:
        """The same for a function that writes. It must not fail for one in a way that spoils the others."""
        if write not in self._gatherings:
            self._gatherings[write] = Gathering(
                lambda subjects: self.database.write(lambda session: write(session, subjects)), _AWAY
            )
        answer: B = await self._gatherings[write].ask(subject)
        return answer
