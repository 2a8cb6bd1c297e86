"""Reads that wait at the same time share one state of the data, and what they look up is looked up once for all."""

from collections.abc import Sequence
from contextlib import suppress
from functools import partial

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError
from sqlmodel import Session

from case_orders.batches import Batches, Busy, Outcome, Pending, in_one_session
from case_orders.shared_session import SharedSession

# Whoever reads much holds up those that share its batch.
_AT_ONCE = 32


def reader(engine: Engine, *, threads: int, most_waiting: int, patience_seconds: float) -> Batches:
    """Runs waiting reads together, in so many threads; `engine` must not let them write. Too late is `Busy`."""
    return Batches(
        partial(_read, engine),
        threads=threads,
        name="db-reader",
        at_once=_AT_ONCE,
        most_waiting=most_waiting,
        patience_seconds=patience_seconds,
        too_late=Busy,
    )


def _read(engine: Engine, batch: Sequence[Pending]) -> list[Outcome]:
    if len(batch) > 1:
        with suppress(Exception):  # one of them is to blame: each for itself
            return _read_together(engine, batch)
    return [_read_alone(engine, pending) for pending in batch]


def _read_together(engine: Engine, batch: Sequence[Pending]) -> list[Outcome]:
    """Raises what `in_one_session` raises."""
    with engine.connect() as connection, SharedSession(connection) as session:
        return in_one_session(session, batch)


def _read_alone(engine: Engine, pending: Pending) -> Outcome:
    """Run a read, and once more if the server ended the connection: what only reads may run twice."""
    if not pending.is_awaited:
        return None, None
    for last_try in (False, True):
        try:
            with Session(engine, expire_on_commit=False) as session:
                return pending.work(session), None
        except DBAPIError as failure:
            if last_try or not failure.connection_invalidated:
                return None, failure
        except Exception as failure:
            return None, failure
    raise AssertionError("unreachable")
