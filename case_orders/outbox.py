"""Jobs: promised in the transaction of the row that needs them, claimed, finished, retried or buried.

Any number of workers may claim at once. A claim is a lease: it moves `due_at` to its end and counts `attempt`.
Whoever finishes must still hold that attempt, in the transaction of what the job did, so that a worker whose lease
ran out commits nothing.
"""

from collections import Counter
from collections.abc import Collection, Mapping
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, delete, func, update
from sqlmodel import Session, col, select

from case_orders.db import now
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
    return job


def claim(
    session: Session, limit: int, lease: timedelta, under_way: Mapping[str, int], per_destination: int
) -> list[Job]:
    """Take up to `limit` due jobs, oldest first, but no more for one destination than `per_destination` in all.

    `under_way` counts the jobs that this worker has for each destination.
    """
    moment = now()
    full = [destination for destination, count in under_way.items() if destination and count >= per_destination]
    due = (
        select(Job)
        .where(Job.state == JobState.WAITING, col(Job.due_at) <= moment, col(Job.destination).not_in(full))
        .order_by(col(Job.due_at))
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    taken = _within_limits(session.exec(due).all(), under_way, per_destination)
    for job in taken:
        job.attempt += 1
        job.due_at = job.leased_until = moment + lease
        session.add(job)
    session.flush()
    return taken


def _within_limits(jobs: Collection[Job], under_way: Mapping[str, int], per_destination: int) -> list[Job]:
    counts, taken = Counter(under_way), []
    for job in jobs:
        if not job.destination or counts[job.destination] < per_destination:
            counts[job.destination] += 1
            taken.append(job)
    return taken


def require_lease(session: Session, job: Job) -> None:
    """Raises `LeaseLost` if the job is no longer this attempt's; holds it until the transaction ends if it is."""
    if session.exec(select(Job.id).where(*_held(job)).with_for_update()).one_or_none() is None:
        raise LeaseLost


def _held(job: Job) -> tuple[ColumnElement[bool], ...]:
    """True of the stored job while it is this attempt's; one that was put off has the attempt, but no lease."""
    return (col(Job.id) == job.id, col(Job.attempt) == job.attempt, col(Job.leased_until).is_not(None))


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


def oldest_due(session: Session) -> datetime | None:
    """When the oldest job that is due and not being worked on became due."""
    return session.exec(
        select(func.min(Job.due_at)).where(Job.state == JobState.WAITING, col(Job.due_at) <= now())
    ).one()
