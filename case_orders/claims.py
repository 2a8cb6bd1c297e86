"""Which due jobs a worker takes: the oldest, as far as each customer's and each destination's share goes.

Any number of workers may claim at once. A claim is a lease: it moves `due_at` to its end and counts `attempt`.
"""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache, lru_cache
from typing import Any

from sqlalchemy import Row, Select, bindparam, func, literal, update
from sqlalchemy import select as select_columns
from sqlmodel import Session, col, select

from case_orders.db import now
from models import Job
from models.jobs import JobKind, JobState


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
