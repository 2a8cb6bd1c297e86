"""Jobs: promised in the transaction of the row that needs them, finished, retried or buried.

Whoever ends a job must still hold the attempt that it claimed, in the transaction of what the job did, so that a worker
whose lease ran out commits nothing.
"""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import and_, bindparam, delete, func, tuple_, update
from sqlalchemy import select as select_columns
from sqlmodel import Session, col, select

from case_orders.db import now
from case_orders.row import table_of
from case_orders.wakeups import jobs_promised
from models import Job
from models.jobs import Claimed, JobKind, JobState


class LeaseLost(Exception):
    """The job was given to another worker meanwhile: nothing of this attempt may be stored."""


def enqueue(session: Session, kind: JobKind, subject: str, *, organization_id: str, destination: str = "") -> Job:
    """Promise a job about `subject`, due at once. `destination` is where its requests go, for the limit of each."""
    job = Job(organization_id=organization_id, kind=kind, subject=subject, destination=destination, due_at=now())
    _promise(session, job)
    return job


def _promise(session: Session, job: Job) -> None:
    session.add(job)
    if job.due_at <= now():
        jobs_promised(session.connection())


_JOBS = table_of(Job).columns
_IDLE = (
    select_columns(_JOBS.id, _JOBS.subject, _JOBS.state)
    .where(
        col(Job.subject).in_(bindparam("subjects", expanding=True)),
        _JOBS.kind == bindparam("kind"),
        col(Job.leased_until).is_(None),
    )
    .order_by(col(Job.id))
    .with_for_update()
)


class ToCome(NamedTuple):
    """About which subjects a job of some kind is still to come, and the ids of those that were given up, by subject."""

    waiting: set[str]
    dead: dict[str, str]


def to_come(session: Session, kind: JobKind, subjects: Collection[str]) -> ToCome:
    """The jobs of a kind about these subjects; held by this transaction.

    One under way does not count: it may have looked before what is promised now was there.
    """
    jobs = session.execute(_IDLE, {"kind": kind, "subjects": list(subjects)}).all()
    return ToCome(
        {job.subject for job in jobs if job.state is JobState.WAITING},
        {job.subject: job.id for job in jobs if job.state is JobState.DEAD},
    )


def ensure(session: Session, jobs: Sequence[Job], known: ToCome | None = None) -> None:
    """Promise these jobs of one kind, but for those about whose subject one is still to come.

    One that was given up lives again. `known` are those to come, if they were looked up before.
    """
    if not jobs:
        return
    if known is None:
        known = to_come(session, jobs[0].kind, [job.subject for job in jobs])
    for job in jobs:
        if job.subject in known.waiting:
            continue
        if job.subject in known.dead:
            replay(session, session.get_one(Job, known.dead[job.subject]))
        else:
            _promise(session, job)
        known.waiting.add(job.subject)


# A stored job is an attempt's while these three are the same. The attempt alone does not tell: one that was put off
# has it still, and one that was replayed or given back gets it again. The lease's end does.
_ATTEMPT = (col(Job.id), col(Job.attempt), col(Job.leased_until))

# SQLite has no index for the three together, and would read the whole table if it were not for the first.
_HELD = and_(
    col(Job.id).in_(bindparam("ids", expanding=True)), tuple_(*_ATTEMPT).in_(bindparam("attempts", expanding=True))
)
_HOLD = select(Job.id).where(_HELD).order_by(col(Job.id)).with_for_update()
_FINISH = delete(Job).where(_HELD).returning(col(Job.id))


def hold_all(session: Session, jobs: Collection[Claimed]) -> set[str]:
    """The ids of those jobs that are still their attempt's; they are held until the transaction ends."""
    return set(session.connection().execute(_HOLD, _attempts(jobs)).scalars())


def finish_all(session: Session, jobs: Collection[Claimed]) -> set[str]:
    """The ids of those jobs that were still their attempt's; they are done now."""
    return set(session.connection().execute(_FINISH, _attempts(jobs)).scalars())


def _attempts(jobs: Collection[Claimed]) -> dict[str, Any]:
    return {"ids": [job.id for job in jobs], "attempts": [(job.id, job.attempt, job.leased_until) for job in jobs]}


def finish(session: Session, job: Claimed) -> None:
    """The job is done. Raises `LeaseLost` if it is no longer this attempt's."""
    if not finish_all(session, [job]):
        raise LeaseLost


def retry(session: Session, job: Claimed, error: str, delay: timedelta) -> None:
    """Try the job again after `delay`."""
    _release(session, job, due_at=now() + delay, last_error=error[:500])


def release(session: Session, job: Claimed) -> None:
    """Give a job back untouched: it is due at once, and this attempt does not count."""
    _release(session, job, due_at=now(), attempt=job.attempt - 1)
    jobs_promised(session.connection())


def bury(session: Session, job: Claimed, error: str) -> None:
    """Give the job up; it stays for an operator to look at and to replay."""
    _release(session, job, state=JobState.DEAD, last_error=error[:500])


def _release(session: Session, job: Claimed, **values: object) -> None:
    change = update(Job).where(_HELD).values(leased_until=None, **values)
    if session.connection().execute(change, _attempts([job])).rowcount != 1:
        raise LeaseLost


def replay(session: Session, job: Job) -> None:
    """Let a dead job live again, with all its attempts before it."""
    job.state, job.due_at, job.attempt, job.leased_until = (JobState.WAITING, now(), 0, None)
    session.add(job)
    jobs_promised(session.connection())


def bring_forward(session: Session, kind: JobKind, longest: timedelta, most: int) -> int:
    """Make jobs due, at most so many, that wait longer than any of their kind may; how many they were.

    They were put off or leased while the clock was ahead, and it was set back since.
    """
    moment = now()
    waiting = select(Job.id).where(Job.state == JobState.WAITING, Job.kind == kind, Job.due_at > moment + longest)
    ids = session.exec(waiting.limit(most).with_for_update(skip_locked=True)).all()
    if ids:
        change = update(Job).where(col(Job.id).in_(ids)).values(due_at=moment, leased_until=None)
        session.connection().execute(change)
        jobs_promised(session.connection())
    return len(ids)


def oldest_due(session: Session) -> datetime | None:
    """When the oldest job that is due and not being worked on became due."""
    return session.exec(
        select(func.min(Job.due_at)).where(Job.state == JobState.WAITING, col(Job.due_at) <= now())
    ).one()
