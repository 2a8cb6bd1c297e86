"""What a job's function works with, and the ways in which it ends.

A function ends by `Context.complete`, which stores what it did and the end of the job in one transaction; by
`Again`, to be tried once more; or by `GiveUp`. Any other error counts as `Again`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlmodel import Session

from case_orders import audit, outbox
from case_orders.db import Database
from case_orders.documents import DocumentStore
from case_orders.links import Links
from case_orders.outbound import Outbound
from case_orders.settings import Settings
from models import Job


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


@dataclass(frozen=True, slots=True)
class Context:
    """What the functions of jobs share in one worker."""

    settings: Settings
    database: Database
    outbound: Outbound
    documents: DocumentStore
    links: Links

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
