"""Group commit: writes that wait at the same time share one transaction and one commit.

One writer per process runs whatever writes are waiting and commits once; while it commits, arrivals form the next
batch. Nobody waits for a timer. At first the writes of a batch share a session too, and their rows are written
together. If one fails that has changed something, or the database objects, all is undone and the batch runs again with
each write in a savepoint of its own, where it undoes itself alone.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm.exc import StaleDataError
from sqlmodel import Session

from case_orders import shared_session
from case_orders.batches import Batches, Outcome, Pending, in_one_session
from case_orders.shared_session import SharedSession

_AT_ONCE = 256


class Uncertain(Exception):
    """Whether the write happened is open: its commit failed, or nobody could wait for it any longer."""


def writer(engine: Engine, *, most_waiting: int, patience_seconds: float) -> Batches:
    """Runs waiting writes in one transaction. Whoever waits in vain is told `Uncertain`."""
    shared_session.watch(engine)
    return Batches(
        partial(_commit_together, engine),
        threads=1,
        name="db-writer",
        at_once=_AT_ONCE,
        most_waiting=most_waiting,
        patience_seconds=patience_seconds,
        too_late=Uncertain,
    )


def _commit_together(engine: Engine, batch: Sequence[Pending]) -> list[Outcome]:
    """Run a batch, with the quick way first."""
    try:
        return _commit(engine, batch, _in_one_session)
    except Exception:
        return _commit_apart(engine, batch)


def _commit_apart(engine: Engine, batch: Sequence[Pending]) -> list[Outcome]:
    """Run a batch with a savepoint each; if one write breaks the connection or is deadlocked, each half runs again."""
    try:
        return _commit(engine, batch, _in_savepoints)
    except Exception as failure:
        if len(batch) == 1:
            return [(None, failure)]
    middle = len(batch) // 2
    return _commit_apart(engine, batch[:middle]) + _commit_apart(engine, batch[middle:])


def _commit(
    engine: Engine, batch: Sequence[Pending], run: Callable[[Connection, Sequence[Pending]], list[Outcome]]
) -> list[Outcome]:
    """`run` a batch in one transaction. Raises what it raises, and then nothing of it was stored.

    Where no transaction can be begun all fail alike: none of them is to blame, and every new try may take seconds.
    """
    try:
        connection = _begin(engine)
    except Exception as failure:
        return [(None, failure)] * len(batch)
    try:
        with _committing(connection):
            return run(connection, batch)
    except Uncertain as failure:
        return [(None, failure)] * len(batch)


def _begin(engine: Engine) -> Connection:
    """A connection with a transaction under way."""
    connection = engine.connect()
    try:
        connection.begin()
    except BaseException:
        connection.close()
        raise
    return connection


@contextmanager
def _committing(connection: Connection) -> Iterator[None]:
    """Commit at the end of the block, undo everything on an error, and give the connection back."""
    with connection:
        yield
        if not _can_commit(connection):  # to which the driver would say nothing
            connection.invalidate()
            raise Uncertain
        try:
            connection.commit()
        except DBAPIError as failure:
            # SQLite leaves the transaction open, and whoever got this connection next could not begin another.
            connection.invalidate()
            # It may be on disk although the answer was lost: to run it again could store it twice.
            raise Uncertain from failure


def _in_one_session(connection: Connection, batch: Sequence[Pending]) -> list[Outcome]:
    """Run writes one after the other in one session. Raises `Entangled`, or what the database objects to."""
    with SharedSession(connection) as session:
        outcomes = in_one_session(session, batch)
        session.commit()
    return outcomes


def _in_savepoints(connection: Connection, batch: Sequence[Pending]) -> list[Outcome]:
    """Run writes one after the other, each in a savepoint. Raises where one ends the transaction for all."""
    return [_in_savepoint(connection, pending, alone=len(batch) == 1) for pending in batch]


def _in_savepoint(connection: Connection, pending: Pending, *, alone: bool) -> Outcome:
    """Run one write that is still waited for; a failure undoes it alone.

    A database error is met by a second try: after a unique violation it sees the row of whoever came first, and no
    longer what was deleted meanwhile.
    """
    if not pending.is_awaited:
        return None, None
    for last_try in (False, True):
        with Session(connection, join_transaction_mode="create_savepoint", expire_on_commit=False) as session:
            try:
                result = pending.work(session)
                session.commit()
            except (DBAPIError, StaleDataError) as failure:
                if _breaks(connection, failure) or (_sqlstate(failure) == _DEADLOCK and not alone):
                    raise
                session.rollback()
                if last_try or _sqlstate(failure) in _WAITED_FOR_LONG:
                    return None, failure
            except Exception as failure:
                session.rollback()
                return None, failure
            else:
                return result, None
    raise AssertionError("unreachable")


# Another transaction waits for rows of this one: they may be those of earlier writes in the batch.
_DEADLOCK = "40P01"
# A lock was not given, or a statement took too long: a second wait would cost the rest of the batch as much again.
_WAITED_FOR_LONG = ("55P03", "57014")


def _sqlstate(failure: Exception) -> str | None:
    return getattr(getattr(failure, "orig", None), "sqlstate", None)


def _breaks(connection: Connection, failure: Exception) -> bool:
    if connection.invalidated or (isinstance(failure, DBAPIError) and failure.connection_invalidated):
        return True
    return connection.dialect.name == "sqlite" and not _can_commit(connection)


def _can_commit(connection: Connection) -> bool:
    """Whether the transaction is still there, with all that was done in it.

    SQLite undoes the whole of it, and not the one statement, if the disk is full or fails
    (https://www.sqlite.org/lang_transaction.html#response_to_errors_within_a_transaction). PostgreSQL takes no more
    after an error, until that is undone.
    """
    driver: Any = connection.connection.dbapi_connection
    if connection.dialect.name == "sqlite":
        return bool(driver.in_transaction)
    return bool(driver.info.transaction_status.name != "INERROR")
