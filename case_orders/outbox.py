"""Jobs: promised in the transaction of the row that needs them, claimed, finished, retried or buried.

Any number of workers may claim at once. A claim is a lease: it moves `due_at` to its end and counts `attempt`.
Whoever finishes must still hold that attempt, in the transaction of what the job did, so that a worker whose lease
ran out commits nothing.
"""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache

from sqlalchemy import ColumnElement, Select, bindparam, delete, func, literal, tuple_, update
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


Rounds = dict[JobKind, str | None]
"""Of each kind the destination at which a round is to go on; None once the kind has been round, until all have."""

# How many destinations of a kind are looked at in one claim.
_STRIDE = 100


def claim(
    session: Session, limits: Limits, lease: timedelta, rounds: Rounds, under_way: Collection[Job] = ()
) -> list[Job]:
    """Take due jobs, as many as there is room for beside `under_way`, which this worker has already.

    The oldest come first. Where those that may not be taken crowd the front of the queue, what is behind them is found
    by going round the destinations. So a claim costs the same however many jobs wait. It leaves in `rounds` where
    another one goes on.
    """
    moment = now()
    room, window = limits.jobs - len(under_way), 2 * limits.jobs
    counts = Counter(share for job in under_way for share in limits.of(job))
    oldest = _oldest(session, moment, window)
    taken = _within(limits, oldest, counts, room)
    if len(oldest) < window or len(taken) == room:
        rounds.clear()
    else:
        heads = [head for kind in JobKind for head in _heads(session, kind, moment, rounds)]
        taken += _within(limits, _still_due(session, heads, moment), counts, room - len(taken))
    if not any(destination is not None for destination in rounds.values()):
        rounds.clear()
    for job in taken:
        job.attempt += 1
        job.due_at = job.leased_until = moment + lease
        session.add(job)
    return taken


def _oldest(session: Session, moment: datetime, count: int) -> Sequence[Job]:
    due = select(Job).where(Job.state == JobState.WAITING, col(Job.due_at) <= moment)
    return session.exec(due.order_by(col(Job.due_at)).limit(count).with_for_update(skip_locked=True)).all()


def _still_due(session: Session, job_ids: Collection[str], moment: datetime) -> list[Job]:
    """Those of these jobs that no other worker took meanwhile, oldest first."""
    # They are asked for by id alone: told more, SQLite would rather read all that are due.
    jobs = session.exec(select(Job).where(col(Job.id).in_(job_ids)).with_for_update(skip_locked=True))
    due = [job for job in jobs if job.state is JobState.WAITING and job.due_at <= moment]
    return sorted(due, key=lambda job: job.due_at)


def _heads(session: Session, kind: JobKind, moment: datetime, rounds: Rounds) -> list[str]:
    """The oldest due job of each destination on the next stride of the round."""
    begin = rounds.get(kind, "")
    if begin is None:
        return []
    values = {"kind": kind, "begin": begin, "moment": moment}
    rows = session.execute(_stride(_STRIDE), values).all()
    rounds[kind] = rows[-1][0]
    return [job_id for _, job_id in rows if job_id is not None]


@cache
def _stride(steps: int) -> Select[tuple[str | None, str | None]]:
    """From the destination `:begin` on, by skipping from one to the next, each with its oldest job due at `:moment`.

    After the last destination comes None.
    """
    waiting = (Job.state == JobState.WAITING, Job.kind == bindparam("kind"))
    following = select(func.min(Job.destination)).where(*waiting)
    begin = following.where(col(Job.destination) >= bindparam("begin")).scalar_subquery()
    stride = select(begin.label("destination"), literal(1).label("step")).cte(recursive=True)
    beyond = following.where(col(Job.destination) > stride.c.destination).scalar_subquery()
    on = select(beyond, stride.c.step + 1).where(stride.c.destination.is_not(None), stride.c.step < steps)
    stride = stride.union_all(on)
    due = col(Job.due_at) <= bindparam("moment")
    head = select(Job.id).where(*waiting, Job.destination == stride.c.destination, due)
    return select(stride.c.destination, head.order_by(col(Job.due_at)).limit(1).scalar_subquery())


def _within(limits: Limits, jobs: Collection[Job], counts: Counter[Share], room: int) -> list[Job]:
    """The first `room` of the jobs that keep within the limits; `counts` goes on counting."""
    taken: list[Job] = []
    for job in jobs:
        shares = limits.of(job)
        if len(taken) < room and all(counts[share] < limit for share, limit in shares.items()):
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


def finish_all(session: Session, jobs: Collection[Job]) -> set[str]:
    """The ids of those jobs that were still their attempt's; they are done now."""
    attempt = tuple_(col(Job.id), col(Job.attempt), col(Job.leased_until))
    held = attempt.in_([(job.id, job.attempt, job.leased_until) for job in jobs])
    # SQLite has no index for the three together, and would read the whole table.
    among = col(Job.id).in_([job.id for job in jobs])
    return set(session.connection().execute(delete(Job).where(among, held).returning(col(Job.id))).scalars())


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
