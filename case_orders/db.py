"""The database and the one door to it: `read` and `write` give a plain SQLModel session to a function.

Writes share commits. One writer per process runs whatever writes are waiting inside one transaction, each in a
savepoint of its own, and commits once; while it commits, arrivals form the next batch. Nobody waits for a timer,
and a function knows nothing of it: it sees a session, and when `write` returns its work is on disk.
"""

import asyncio
import sqlite3
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import orjson
from sqlalchemy import Connection, DateTime, Dialect, Engine, event, make_url
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.types import TypeDecorator
from sqlmodel import Session, create_engine
from uuid_utils import uuid7

T = TypeVar("T")
Work = Callable[[Session], T]

# The database is away or cannot take more: the same work may succeed later.
UNAVAILABLE = (OperationalError, InterfaceError)

_MAX_BATCH = 256
_READERS = 4
_PATIENCE_SECONDS = 30

# A server that vanishes without a word is noticed within half a minute; by itself Linux would wait for a quarter of an
# hour. https://www.postgresql.org/docs/current/libpq-connect.html
_POSTGRESQL = {
    "connect_timeout": 5,
    "keepalives": 1,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,
    "options": "-c timezone=UTC -c statement_timeout=30s -c lock_timeout=10s",
}


class Busy(Exception):
    """The database does not keep up: too much waits for it, or a read had to wait for too long."""


class Uncertain(Exception):
    """Whether the write happened is open: its commit failed, or nobody could wait for it any longer."""


def now() -> datetime:
    """The present, in UTC."""
    return datetime.now(UTC)


def new_id() -> str:
    """A UUID whose order is that of its making (version 7, RFC 9562)."""
    return str(uuid7())


class UtcDateTime(TypeDecorator[datetime]):
    """A point in time. SQLite knows no time zones: there it is kept in UTC without one."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None or dialect.name != "sqlite":
            return value
        return value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return None if value is None else value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


@dataclass(slots=True)
class _Pending:
    work: Work[Any]
    outcome: asyncio.Future[Any]

    @property
    def is_awaited(self) -> bool:
        return not self.outcome.cancelled()


Outcome = tuple[Any, BaseException | None]


class _Writer:
    """Group commit: runs waiting writes in one transaction. The batch is whatever arrived during the last one."""

    def __init__(self, engine: Engine, most_waiting: int, patience_seconds: float) -> None:
        self._engine = engine
        self._most_waiting = most_waiting
        self._patience_seconds = patience_seconds
        self._waiting: deque[_Pending] = deque()
        self._drain: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="db-writer")

    async def run(self, work: Work[T]) -> T:
        if len(self._waiting) >= self._most_waiting:
            raise Busy
        pending = _Pending(work, asyncio.get_running_loop().create_future())
        self._waiting.append(pending)
        if self._drain is None or self._drain.done():
            self._drain = asyncio.create_task(self._drain_queue())
        try:
            async with asyncio.timeout(self._patience_seconds):
                result: T = await pending.outcome
        except TimeoutError:
            raise Uncertain from None
        return result

    async def _drain_queue(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), _MAX_BATCH))]
            outcomes = await loop.run_in_executor(self._thread, _commit_together, self._engine, batch)
            for pending, (result, failure) in zip(batch, outcomes, strict=True):
                if not pending.is_awaited:
                    continue
                if failure is None:
                    pending.outcome.set_result(result)
                else:
                    pending.outcome.set_exception(failure)

    async def close(self) -> None:
        if self._drain is not None:
            await self._drain
        self._thread.shutdown()


def _commit_together(engine: Engine, batch: Sequence[_Pending]) -> list[Outcome]:
    """Run a batch in one transaction; if one write breaks the connection or is deadlocked, each half runs again.

    Where no transaction can be begun all fail alike: none of them is to blame, and every new try may take seconds.
    """
    try:
        connection = _begin(engine)
    except Exception as failure:
        return [(None, failure)] * len(batch)
    try:
        with _committing(connection):
            return [_in_savepoint(connection, pending, alone=len(batch) == 1) for pending in batch]
    except Uncertain as failure:
        return [(None, failure)] * len(batch)
    except Exception as failure:
        if len(batch) == 1:
            return [(None, failure)]
    middle = len(batch) // 2
    return _commit_together(engine, batch[:middle]) + _commit_together(engine, batch[middle:])


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
        try:
            connection.commit()
        except DBAPIError as failure:
            # SQLite leaves the transaction open, and whoever got this connection next could not begin another.
            connection.invalidate()
            # It may be on disk although the answer was lost: to run it again could store it twice.
            raise Uncertain from failure


def _in_savepoint(connection: Connection, pending: _Pending, *, alone: bool) -> Outcome:
    """Run one write that is still waited for; a failure undoes it alone.

    A database error is met by a second try: after a unique violation it sees the row of whoever came first.
    """
    if not pending.is_awaited:
        return None, None
    for last_try in (False, True):
        with Session(connection, join_transaction_mode="create_savepoint", expire_on_commit=False) as session:
            try:
                result = pending.work(session)
                session.commit()
            except DBAPIError as failure:
                if failure.connection_invalidated or connection.invalidated or (_is_deadlock(failure) and not alone):
                    raise
                session.rollback()
                if last_try:
                    return None, failure
            except Exception as failure:
                session.rollback()
                return None, failure
            else:
                return result, None
    raise AssertionError("unreachable")


def _is_deadlock(failure: DBAPIError) -> bool:
    """Whether another transaction waits for rows of this one: they may be those of earlier writes in the batch."""
    return getattr(failure.orig, "sqlstate", None) == "40P01"


class Database:
    """One process's way to the database. Make one, share it, close it."""

    def __init__(self, url: str, most_waiting: int = 1000, patience_seconds: float = _PATIENCE_SECONDS) -> None:
        """`url` is `sqlite:///PATH` or `postgresql://...`.

        As many writes, and as many reads, may wait as `most_waiting` says, and each of them for `patience_seconds`.
        """
        self.engine, self._read_engine = _engines(url)
        self._most_waiting = most_waiting
        self._patience_seconds = patience_seconds
        self._writer = _Writer(self.engine, most_waiting, patience_seconds)
        self._readers = ThreadPoolExecutor(_READERS, thread_name_prefix="db-reader")
        self._reading = 0

    @property
    def is_sqlite(self) -> bool:
        return self.engine.dialect.name == "sqlite"

    async def write(self, work: Work[T]) -> T:
        """Run `work` in a transaction; what it did is durable when this returns.

        `work` may run again if the database made the first run fail, so it must have no other effects.
        Raises what `work` raises, `Busy`, `Uncertain`, or one of `UNAVAILABLE`.
        """
        return await self._writer.run(work)

    async def read(self, work: Work[T]) -> T:
        """Run `work` on one state of the data, which it cannot change.

        Raises what `work` raises, `Busy`, or one of `UNAVAILABLE`.
        """
        if self._reading >= self._most_waiting + _READERS:
            raise Busy
        self._reading += 1
        try:
            async with asyncio.timeout(self._patience_seconds):
                return await asyncio.get_running_loop().run_in_executor(self._readers, self._read, work)
        except TimeoutError:
            raise Busy from None
        finally:
            self._reading -= 1

    def _read(self, work: Work[T]) -> T:
        with self.snapshot() as session:
            return work(session)

    @contextmanager
    def snapshot(self) -> Iterator[Session]:
        """A session for a command that only looks: it sees one state of the data, and holds nobody up."""
        with Session(self._read_engine, expire_on_commit=False) as session:
            yield session

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        """A session for a command: commits at the end of the block, undoes everything on an error."""
        with Session(self.engine, expire_on_commit=False) as session, session.begin():
            yield session

    async def close(self) -> None:
        await self._writer.close()
        self._readers.shutdown()
        self.dispose()

    def dispose(self) -> None:
        """Close the connections."""
        self.engine.dispose()
        self._read_engine.dispose()


def _engines(url: str) -> tuple[Engine, Engine]:
    """The engine that writes and the one that reads."""
    parsed = make_url(url)
    # Values must never reach a log: an error names the statement only.
    options: dict[str, Any] = {
        "hide_parameters": True,
        "json_serializer": lambda value: orjson.dumps(value).decode(),
        "json_deserializer": orjson.loads,
    }
    if parsed.get_backend_name() == "sqlite":
        if parsed.database:
            _make_private(Path(parsed.database))
        return _sqlite(url, options, "BEGIN IMMEDIATE"), _sqlite(url, options, "BEGIN", query_only=True)
    engine = create_engine(
        parsed.set(drivername="postgresql+psycopg"),
        pool_pre_ping=True,
        pool_size=_READERS + 1,
        connect_args=_POSTGRESQL,
        **options,
    )
    return engine, engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)


def _make_private(path: Path) -> None:
    """The file with health data in it is for its owner alone; SQLite's files beside it take its mode."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)


def _sqlite(url: str, options: dict[str, Any], begin: str, query_only: bool = False) -> Engine:
    engine = create_engine(url, pool_size=_READERS + 1, connect_args={"timeout": 30}, **options)

    @event.listens_for(engine, "connect")
    def prepare(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None  # the driver's own BEGIN comes too late and is never IMMEDIATE
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")  # what was acknowledged must survive a power cut
        connection.execute("PRAGMA foreign_keys=ON")
        connection.execute(f"PRAGMA query_only={int(query_only)}")

    @event.listens_for(engine, "begin")
    def start(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    return engine
