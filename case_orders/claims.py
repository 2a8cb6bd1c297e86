"""Which due jobs a worker takes: the oldest, as far as each customer's and each destination's share goes.

Any number of workers may claim at once. A claim is a lease: it moves `due_at` to its end and counts `attempt`.
"""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache, lru_cache
from typing import Any

from sqlalchemy import Row, Select, bindparam, cast, func, literal, select, union_all, update
from sqlmodel import Session, col

from case_orders.db import now
from case_orders.row import table_of
from models import Job
from models.jobs import Claimed, JobKind, JobState


@dataclass(frozen=True, slots=True)
class Share:
    """Jobs that have a limit in common: those of `kinds` to a destination, of an organization, or all."""

    kinds: frozenset[JobKind]
    destination: str | None = None
    organization_id: str | None = None


_ALL = frozenset(JobKind)
_DELIVERIES = frozenset({JobKind.DELIVER_WEBHOOK})
_UNHURRIED = _ALL - {JobKind.CANCEL_ORDER}
_DOCUMENTS = frozenset({JobKind.FETCH_DOCUMENT})


@dataclass(frozen=True, slots=True)
class Limits:
    """How many jobs one worker may have under way: `jobs` in all, `per_destination` to one of their destinations.

    Customers choose where their webhooks lead to: all deliveries together get half of the room, those of one
    organization half of that, those to one host half of that again. A quarter of what may go to one pharmacy is kept
    for cancel requests. Documents get an eighth of the room: each is held in memory until it is stored.
    """

    jobs: int
    per_destination: int

    def of(self, job: Claimed | Row[Any]) -> dict[Share, int]:
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
    if kind in _DOCUMENTS:
        shares[Share(_DOCUMENTS)] = max(limits.jobs // 8, 1)
    return shares


Rounds = dict[JobKind, str | None]
"""Of each kind the destination at which a round is to go on; None once the kind has been round, until all have."""

# How many destinations of a kind are looked at in one claim.
_STRIDE = 100


def claim(
    session: Session, limits: Limits, lease: timedelta, rounds: Rounds, under_way: Collection[Claimed] = ()
) -> list[Claimed]:
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
        heads = _heads(session, moment, rounds) - {job.id for job in taken}
        taken += _within(limits, _still_due(session, heads, moment), counts, room - len(taken))
    if not any(destination is not None for destination in rounds.values()):
        rounds.clear()
    return _lease(session, taken, moment + lease)


def _lease(session: Session, rows: Collection[Row[Any]], end: datetime) -> list[Claimed]:
    if rows:
        session.connection().execute(_LEASE, {"ids": [row.id for row in rows], "end": end})
    return [
        Claimed(
            id=row.id,
            organization_id=row.organization_id,
            kind=row.kind,
            subject=row.subject,
            destination=row.destination,
            attempt=row.attempt + 1,
            leased_until=end,
            last_error=row.last_error,
        )
        for row in rows
    ]


# Most jobs are only looked at: they are read as plain rows, and no more of each than is asked for.
_JOBS = table_of(Job).columns
_SEEN = ("id", "organization_id", "kind", "subject", "destination", "attempt", "last_error", "state", "due_at")
_LOOK = select(*(_JOBS[name] for name in _SEEN)).with_for_update(skip_locked=True)
_OLDEST = (
    _LOOK.where(col(Job.state) == JobState.WAITING, col(Job.due_at) <= bindparam("moment"))
    .order_by(col(Job.due_at))
    .limit(bindparam("count"))
)
# By id alone: told more, SQLite would rather read all that are due.
_BY_ID = _LOOK.where(col(Job.id).in_(bindparam("ids", expanding=True)))
_LEASE = (
    update(Job)
    .where(col(Job.id).in_(bindparam("ids", expanding=True)))
    .values(attempt=Job.attempt + 1, due_at=bindparam("end"), leased_until=bindparam("end"))
)


def _oldest(session: Session, moment: datetime, count: int) -> Sequence[Row[Any]]:
    return session.connection().execute(_OLDEST, {"moment": moment, "count": count}).all()


def _still_due(session: Session, job_ids: Collection[str], moment: datetime) -> list[Row[Any]]:
    """Those of these jobs that no other worker took meanwhile, oldest first."""
    if not job_ids:
        return []
    rows = session.connection().execute(_BY_ID, {"ids": list(job_ids)})
    due = [row for row in rows if row.state is JobState.WAITING and row.due_at <= moment]
    return sorted(due, key=lambda row: row.due_at)


def _heads(session: Session, moment: datetime, rounds: Rounds) -> set[str]:
    """The oldest due job of each destination on the next stride of each kind's round."""
    begins = {kind.value: rounds.get(kind, "") for kind in JobKind}
    heads = session.connection().execute(_stride(_STRIDE), {**begins, "moment": moment}).all()
    rounds.update({kind: destination for kind, destination, _ in heads})
    return {job_id for _, _, job_id in heads if job_id is not None}


@cache
def _stride(steps: int) -> Select[Any]:
    """Of each kind from the destination that is given under its name, by skipping from one to the next.

    With each comes its oldest job due at `:moment`. After a kind's last destination comes None, as from None on.
    """
    kind, destination, due_at = _JOBS.kind, _JOBS.destination, _JOBS.due_at
    is_waiting = _JOBS.state == JobState.WAITING
    kinds = union_all(
        *(
            select(cast(each, kind.type).label("kind"), bindparam(each.value, type_=destination.type).label("begin"))
            for each in JobKind
        )
    ).cte("kinds")
    following = select(func.min(destination)).where(is_waiting)
    begin = following.where(kind == kinds.c.kind, destination >= kinds.c.begin).scalar_subquery()
    stride = select(kinds.c.kind, begin.label("destination"), literal(1).label("step")).cte("stride", recursive=True)
    beyond = following.where(kind == stride.c.kind, destination > stride.c.destination).scalar_subquery()
    on = select(stride.c.kind, beyond, stride.c.step + 1)
    stride = stride.union_all(on.where(stride.c.destination.is_not(None), stride.c.step < steps))
    due = select(_JOBS.id).where(is_waiting, kind == stride.c.kind, destination == stride.c.destination)
    oldest = due.where(due_at <= bindparam("moment")).order_by(due_at).limit(1).scalar_subquery()
    return select(stride.c.kind, stride.c.destination, oldest).order_by(stride.c.step)


def _within(limits: Limits, jobs: Collection[Row[Any]], counts: Counter[Share], room: int) -> list[Row[Any]]:
    """The first `room` of the jobs that keep within the limits; `counts` goes on counting."""
    taken: list[Row[Any]] = []
    for job in jobs:
        if len(taken) == room:
            break
        shares = limits.of(job)
        if all(counts[share] < limit for share, limit in shares.items()):
            for share in shares:
                counts[share] += 1
            taken.append(job)
    return taken
