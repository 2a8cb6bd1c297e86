"""Jobs: promised in the transaction of the row that needs them, claimed, finished, retried or buried.

Any number of workers may claim at once. A claim is a lease: it moves `due_at` to its end and counts `attempt`.
Whoever finishes must still hold that attempt, in the transaction of what the job did, so that a worker whose lease
ran out commits nothing.
"""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache, lru_cache
from typing import Any

from sqlalchemy import Row, Select, and_, bindparam, delete, func, literal, tuple_, update
from sqlalchemy import select as select_columns
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
    _promise(session, job)
    return job


def _promise(session: Session, job: Job) -> None:
    session.add(job)
    if job.due_at <= now():
        jobs_promised(session.connection())


_IDLE = (
    select(Job)
    .where(
        col(Job.subject).in_(bindparam("subjects", expanding=True)),
        Job.kind == bindparam("kind"),
        col(Job.leased_until).is_(None),
    )
    .order_by(col(Job.id))
    .with_for_update()
)


def to_come(session: Session, kind: JobKind, subjects: Collection[str]) -> dict[str, Job]:
    """The jobs of a kind about these subjects that are still to come, or were given up; held by this transaction.

    One under way does not count: it may have looked before what is promised now was there.
    """
    jobs = session.exec(_IDLE, params={"kind": kind, "subjects": list(subjects)})
    # Of several about a subject the last one counts: one that waits, before one that was given up.
    return {job.subject: job for job in sorted(jobs, key=lambda job: job.state is JobState.WAITING)}


def ensure(session: Session, jobs: Sequence[Job], known: dict[str, Job] | None = None) -> None:
    """Promise these jobs of one kind, but for those about whose subject one is still to come.

    One that was given up lives again. `known` are those to come, if they were looked up before.
    """
    if not jobs:
        return
    if known is None:
        known = to_come(session, jobs[0].kind, [job.subject for job in jobs])
    for job in jobs:
        other = known.setdefault(job.subject, job)
        if other is job:
            _promise(session, job)
        elif other.state is JobState.DEAD:
            replay(session, other)


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

    def of(self, job: Job | Row[Any]) -> dict[Share, int]:
        """The shares that a job belongs to, with the limit of each."""
        return _shares(self, job.kind, job.destination, job.organization_id)


@lru_cache(maxsize=10_000)  # each claim asks it of every job that it looks at
def _shares(limits: Limits, kind: JobKind, destination: str, organization_id: str) -> dict[Share, int]:
    if kind in _DELIVERIES:
        return {
            Share(_DELIVERIES): max(limits.jobs // 2, 1),
            Share(_DELIVERIES, organization_id=organization_id): max(limits.jobs // 4, 1),
            Share(_DELIVERIES, destination): min(max(limits.jobs // 8, 1), limits.per_destination),
        }
    shares = {Share(_ALL, destination): limits.per_destination} if destination else {}
    if destination and kind in _UNHURRIED:
        shares[Share(_UNHURRIED, destination)] = max(limits.per_destination * 3 // 4, 1)
    return shares


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
    room = limits.jobs - len(under_way)
    window = 2 * room  # to have a choice
    counts = Counter(share for job in under_way for share in limits.of(job))
    oldest = _oldest(session, moment, window)
    taken = _within(limits, oldest, counts, room)
    if len(oldest) < window or len(taken) == room:
        rounds.clear()
    else:
        heads = {head for kind in JobKind for head in _heads(session, kind, moment, rounds)}
        heads -= {job.id for job in taken}
        taken += _within(limits, _still_due(session, heads, moment), counts, room - len(taken))
    if not any(destination is not None for destination in rounds.values()):
        rounds.clear()
    return _lease(session, taken, moment + lease)


def _lease(session: Session, rows: Collection[Row[Any]], end: datetime) -> list[Job]:
    if rows:
        session.connection().execute(_LEASE, {"ids": [row.id for row in rows], "end": end})
    changed = {"due_at": end, "leased_until": end}
    return [Job(**{**row._mapping, **changed, "attempt": row.attempt + 1}) for row in rows]


# Jobs are read as plain rows here: most are only looked at, and a session would keep book of each.
_COLUMNS = tuple(Job.metadata.tables["jobs"].columns)
_OLDEST = (
    select_columns(*_COLUMNS)
    .where(col(Job.state) == JobState.WAITING, col(Job.due_at) <= bindparam("moment"))
    .order_by(col(Job.due_at))
    .limit(bindparam("count"))
    .with_for_update(skip_locked=True)
)
# By id alone: told more, SQLite would rather read all that are due.
_BY_ID = (
    select_columns(*_COLUMNS).where(col(Job.id).in_(bindparam("ids", expanding=True))).with_for_update(skip_locked=True)
)
_LEASE = (
    update(Job)
    .where(col(Job.id).in_(bindparam("ids", expanding=True)))
    .values(attempt=Job.attempt + 1, due_at=bindparam("end"), leased_until=bindparam("end"))
)


def _oldest(session: Session, moment: datetime, count: int) -> Sequence[Row[Any]]:
    return session.connection().execute(_OLDEST, {"moment": moment, "count": count}).all()


def _still_due(session: Session, job_ids: Collection[str], moment: datetime) -> list[Row[Any]]:
    """Those of these jobs that no other worker took meanwhile, oldest first."""
    rows = session.connection().execute(_BY_ID, {"ids": list(job_ids)})
    due = [row for row in rows if row.state is JobState.WAITING and row.due_at <= moment]
    return sorted(due, key=lambda row: row.due_at)


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


def _within(limits: Limits, jobs: Collection[Row[Any]], counts: Counter[Share], room: int) -> list[Row[Any]]:
    """The first `room` of the jobs that keep within the limits; `counts` goes on counting."""
    taken: list[Row[Any]] = []
    for job in jobs:
        shares = limits.of(job)
        if len(taken) < room and all(counts[share] < limit for share, limit in shares.items()):
            for share in shares:
                counts[share] += 1
            taken.append(job)
    return taken


# A stored job is an attempt's while these three are the same. The attempt alone does not tell: one that was put off
# has it still, and one that was replayed or given back gets it again. The lease's end does.
_ATTEMPT = (col(Job.id), col(Job.attempt), col(Job.leased_until))

# SQLite has no index for the three together, and would read the whole table if it were not for the first.
_HELD = and_(
    col(Job.id).in_(bindparam("ids", expanding=True)), tuple_(*_ATTEMPT).in_(bindparam("attempts", expanding=True))
)
_HOLD = select(Job.id).where(_HELD).order_by(col(Job.id)).with_for_update()
_FINISH = delete(Job).where(_HELD).returning(col(Job.id))


def hold_all(session: Session, jobs: Collection[Job]) -> set[str]:
    """The ids of those jobs that are still their attempt's; they are held until the transaction ends."""
    return set(session.connection().execute(_HOLD, _attempts(jobs)).scalars())


def finish_all(session: Session, jobs: Collection[Job]) -> set[str]:
    """The ids of those jobs that were still their attempt's; they are done now."""
    return set(session.connection().execute(_FINISH, _attempts(jobs)).scalars())


def _attempts(jobs: Collection[Job]) -> dict[str, Any]:
    return {"ids": [job.id for job in jobs], "attempts": [(job.id, job.attempt, job.leased_until) for job in jobs]}


def finish(session: Session, job: Job) -> None:
    """The job is done. Raises `LeaseLost` if it is no longer this attempt's."""
    if not finish_all(session, [job]):
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
    change = update(Job).where(_HELD).values(leased_until=None, **values)
    if session.connection().execute(change, _attempts([job])).rowcount != 1:
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
