"""Jobs: promised in the transaction of the row that needs them, claimed, finished, retried or buried.

Any number of workers may claim at once. A claim is a lease: it moves `due_at` to its end and counts `attempt`.
Whoever finishes must still hold that attempt, in the transaction of what the job did, so that a worker whose lease
ran out commits nothing.
"""

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, and_, delete, func, not_, update
from sqlmodel import Session, col, select

from case_orders.db import now
from case_orders.wakeups import jobs_promised
from models import Job
from models.jobs import JobKind, JobState


class LeaseLost(Exception):
    """The job was given to another worker meanwhile: nothing of this attempt may be stored."""


def enqueue(
    session: Session,
    kind: JobKind,
    subject: str,
    *,
    organization_id: str,
    destination: str = "",
    delay: timedelta = timedelta(),
) -> Job:
    """Promise a job about `subject`. `destination` is where its requests go, for the limit of each."""
    job = Job(
        organization_id=organization_id, kind=kind, subject=subject, destination=destination, due_at=now() + delay
    )
    session.add(job)
    if not delay:
        jobs_promised(session.connection())
    return job


def ensure(
    session: Session, kind: JobKind, subject: str, *, organization_id: str, destination: str, delay: timedelta
) -> None:
    """Promise a job about `subject` unless one of its kind is still to come; one that was given up lives again.

    A job under way does not count: it may have looked before what is promised now was there.
    """
    idle = select(Job).where(Job.kind == kind, Job.subject == subject, col(Job.leased_until).is_(None))
    job = session.exec(idle.order_by(col(Job.state) == JobState.DEAD).limit(1).with_for_update()).one_or_none()
    if job is None:
        enqueue(session, kind, subject, organization_id=organization_id, destination=destination, delay=delay)
    elif job.state is JobState.DEAD:
        replay(session, job)


@dataclass(frozen=True, slots=True)
class Share:
    """Jobs that have a limit in common: those of `kinds` to a destination, of an organization, or all."""

    kinds: frozenset[JobKind]
    destination: str | None = None
    organization_id: str | None = None

    def holds(self) -> ColumnElement[bool]:
        """True of the jobs that belong to it."""
        conditions: list[ColumnElement[bool]] = [col(Job.kind).in_(self.kinds)]
        if self.destination is not None:
            conditions.append(col(Job.destination) == self.destination)
        if self.organization_id is not None:
            conditions.append(col(Job.organization_id) == self.organization_id)
        return and_(*conditions)


_ALL = frozenset(JobKind)
_DELIVERIES = frozenset({JobKind.DELIVER_WEBHOOK})
_UNHURRIED = _ALL - {JobKind.CANCEL_ORDER}


@dataclass(frozen=True, slots=True)
class Limits:
    """How many jobs one worker may have under way: `jobs` in all, `per_destination` to one of their destinations.

    Customers choose where their webhooks lead to: all deliveries together get half of the room, those of one
    organization half of that, those to one host half of that again. A quarter of what may go to one pharmacy is kept
    for cancel requests.
    """

    jobs: int
    per_destination: int

    def of(self, job: Job) -> dict[Share, int]:
        """The shares that a job belongs to, with the limit of each."""
        if job.kind in _DELIVERIES:
            return {
                Share(_DELIVERIES): max(self.jobs // 2, 1),
                Share(_DELIVERIES, organization_id=job.organization_id): max(self.jobs // 4, 1),
                Share(_DELIVERIES, job.destination): min(max(self.jobs // 8, 1), self.per_destination),
            }
        limits = {Share(_ALL, job.destination): self.per_destination} if job.destination else {}
        if job.destination and job.kind in _UNHURRIED:
            limits[Share(_UNHURRIED, job.destination)] = max(self.per_destination * 3 // 4, 1)
        return limits


def claim(session: Session, limits: Limits, lease: timedelta, under_way: Collection[Job] = ()) -> list[Job]:
    """Take due jobs, oldest first, as many as there is room for beside `under_way`, which this worker has already."""
    moment = now()
    counts = Counter(share for job in under_way for share in limits.of(job))
    full = {share for job in under_way for share, limit in limits.of(job).items() if counts[share] >= limit}
    due = (
        select(Job)
        .where(Job.state == JobState.WAITING, col(Job.due_at) <= moment, *(not_(share.holds()) for share in full))
        .order_by(col(Job.due_at))
        .limit(limits.jobs - len(under_way))
        .with_for_update(skip_locked=True)
    )
    taken = _within(limits, session.exec(due).all(), counts)
    for job in taken:
        job.attempt += 1
        job.due_at = job.leased_until = moment + lease
        session.add(job)
    return taken


def _within(limits: Limits, jobs: Collection[Job], counts: Counter[Share]) -> list[Job]:
    taken = []
    for job in jobs:
        shares = limits.of(job)
        if all(counts[share] < limit for share, limit in shares.items()):
            counts.update(shares.keys())
            taken.append(job)
    return taken


def require_lease(session: Session, job: Job) -> None:
    """Raises `LeaseLost` if the job is no longer this attempt's; holds it until the transaction ends if it is."""
    if session.exec(select(Job.id).where(*_held(job)).with_for_update()).one_or_none() is None:
        raise LeaseLost


def _held(job: Job) -> tuple[ColumnElement[bool], ...]:
    """True of the stored job while it is this attempt's.

    The attempt alone does not tell: one that was put off has it still, and one that was replayed or given back gets
    it again. The lease's end does.
    """
    return (col(Job.id) == job.id, col(Job.attempt) == job.attempt, col(Job.leased_until) == job.leased_until)


def finish(session: Session, job: Job) -> None:
    """The job is done. Raises `LeaseLost` if it is no longer this attempt's."""
    if session.connection().execute(delete(Job).where(*_held(job))).rowcount != 1:
        raise LeaseLost


def retry(session: Session, job: Job, error: str, delay: timedelta) -> None:
    """Try the job again after `delay`."""
    _release(session, job, due_at=now() + delay, last_error=error[:500])


def release(session: Session, job: Job) -> None:
    """Give a job back untouched: it is due at once, and this attempt does not count."""
    _release(session, job, due_at=now(), attempt=job.attempt - 1)
    jobs_promised(session.connection())


def bury(session: Session, job: Job, error: str) -> None:
    """Give the job up; it stays for an operator to look at and to replay."""
    _release(session, job, state=JobState.DEAD, last_error=error[:500])


def _release(session: Session, job: Job, **values: object) -> None:
    change = update(Job).where(*_held(job)).values(leased_until=None, **values)
    if session.connection().execute(change).rowcount != 1:
        raise LeaseLost


def replay(session: Session, job: Job) -> None:
    """Let a dead job live again, with all its attempts before it."""
    job.state, job.due_at, job.attempt, job.leased_until = (JobState.WAITING, now(), 0, None)
    session.add(job)
    jobs_promised(session.connection())


def oldest_due(session: Session) -> datetime | None:
    """When the oldest job that is due and not being worked on became due."""
    return session.exec(
        select(func.min(Job.due_at)).where(Job.state == JobState.WAITING, col(Job.due_at) <= now())
    ).one()
