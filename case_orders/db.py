"""The database and the one door to it: `read` and `write` give a plain SQLModel session to a function.

Writes share commits (`case_orders.group_commit`), and a function knows nothing of it: it sees a session, and when
`write` returns its work is on disk.
"""

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
from sqlalchemy import Connection, DateTime, Dialect, Engine, event, make_url, text
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.types import TypeDecorator
from sqlmodel import Session, create_engine
from uuid_utils import uuid7

from case_orders.batches import Busy, T, Work, nothing
from case_orders.group_commit import Uncertain, writer
from case_orders.group_read import reader
from case_orders.shared_session import Ask
from case_orders.wakeups import Bell, Notifications, Pipes, ring_after_commits

__all__ = ["UNAVAILABLE", "Busy", "Database", "Uncertain", "UtcDateTime", "first_id", "new_id", "now"]

# The database is away or cannot take more: the same work may succeed later.
UNAVAILABLE = (OperationalError, InterfaceError)

_READERS = 4
_PATIENCE_SECONDS = 30

# A server that vanishes without a word is noticed within half a minute; by itself Linux would wait for a quarter of an
# hour. https://www.postgresql.org/docs/current/libpq-connect.html
_KEEPALIVE = {
    "connect_timeout": 5,
    "keepalives": 1,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,
}
_POSTGRESQL = {
    **_KEEPALIVE,
    "options": "-c timezone=UTC -c statement_timeout=30s -c lock_timeout=3s"
    # A host that was cut off must not hold its locks for the two hours that the server would wait for it.
    " -c idle_in_transaction_session_timeout=10s"
    " -c tcp_keepalives_idle=10 -c tcp_keepalives_interval=5 -c tcp_keepalives_count=3",
}

# Each transaction may get another connection to the server there: what lasts longer is the role's to set.
_POSTGRESQL_BEHIND_POOLER = {**_POSTGRESQL, "options": "", "prepare_threshold": None}


def now() -> datetime:
    """The present, in UTC. Never a whole second, so that times that are taken here are all written with a fraction."""
    moment = datetime.now(UTC)
    return moment if moment.microsecond else moment.replace(microsecond=1)


def new_id() -> str:
    """A UUID whose order is that of its making (version 7, RFC 9562)."""
    return str(uuid7())


def first_id(moment: datetime) -> str:
    """What sorts before every id that is made from `moment` on, and after those made before."""
    milliseconds = f"{int(moment.timestamp() * 1000):012x}"  # RFC 9562, section 5.7
    return f"{milliseconds[:8]}-{milliseconds[8:]}"


class UtcDateTime(TypeDecorator[datetime]):
    """A point in time. SQLite knows no time zones: there it is kept in UTC without one.

    Nothing else is bound and read so often: SQLite's text is made and read by Python's own functions.
    """

    impl = DateTime(timezone=True)
    cache_ok = True

    def bind_processor(self, dialect: Dialect) -> Callable[[datetime | None], Any] | None:
        if dialect.name != "sqlite":
            return super().bind_processor(dialect)
        return lambda value: (
            None if value is None else value.astimezone(UTC).replace(tzinfo=None).isoformat(" ", "microseconds")
        )

    def result_processor(self, dialect: Dialect, coltype: object) -> Callable[[Any], datetime | None]:
        if dialect.name != "sqlite":  # which gives it in the zone of the session, whatever that is behind a pooler
            return lambda value: None if value is None else value.astimezone(UTC)
        return lambda text: None if text is None else datetime.fromisoformat(text).replace(tzinfo=UTC)


class Database:
    """One process's way to the database. Make one, share it, close it."""

    def __init__(self, url: str, most_waiting: int = 1000, patience_seconds: float = _PATIENCE_SECONDS) -> None:
        """`url` is `sqlite:///PATH` or `postgresql://...`, with `?pooler=transaction` if a pooler stands before it.

        As many writes, and as many reads, may wait as `most_waiting` says, and each of them for `patience_seconds`.
        """
        self.engine, self._read_engine = _engines(url)
        self.bell = _bell(url)
        ring_after_commits(self.engine, self.bell)
        self._writer = writer(self.engine, most_waiting=most_waiting, patience_seconds=patience_seconds)
        # Queries of SQLite run in this process: a second thread would only wrangle with the first for the interpreter.
        threads = 1 if self.is_sqlite else _READERS
        self._reader = reader(
            self._read_engine,
            threads=threads,
            most_waiting=most_waiting + threads,  # those that are read at once have waited too
            patience_seconds=patience_seconds,
        )

    @property
    def is_sqlite(self) -> bool:
        return self.engine.dialect.name == "sqlite"

    async def write(
        self,
        work: Work[T],
        asks: Sequence[Ask] = (),
        begin: Callable[[], object] = nothing,
        *,
        holds: bool = False,
    ) -> T:
        """Run `work` in a transaction; what it did is durable when this returns.

        What it says that it `asks` of the database costs less, since writes that wait together ask together.
        `begin` is called once, in the event loop, just before the transaction. What `holds` many rows says so: no two
        such pieces share a transaction.
        `work` may run again if the database made the first run fail, so it must have no other effects.
        Raises what `work` raises, `Busy`, `Uncertain`, or one of `UNAVAILABLE`.
        """
        return await self._writer.run(work, asks, begin, holds=holds)

    async def read(self, work: Work[T], asks: Sequence[Ask] = (), begin: Callable[[], object] = nothing) -> T:
        """Run `work` on one state of the data, which it cannot change.

        What it says that it `asks` costs less, and `begin` is called as with `write`. Raises what `work` raises,
        `Busy`, or one of `UNAVAILABLE`.
        """
        return await self._reader.run(work, asks, begin)

    @contextmanager
    def snapshot(self) -> Iterator[Session]:
        """A session for a command that only looks: it sees one state of the data, and holds nobody up."""
        with Session(self._read_engine, expire_on_commit=False) as session:
            if not self.is_sqlite:  # whoever reads what a command prints may pause, and holds no locks
                session.connection().execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
                session.connection().execute(text("SET LOCAL statement_timeout = 0"))
            yield session

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        """A session for a command: commits at the end of the block, undoes everything on an error."""
        with Session(self.engine, expire_on_commit=False) as session, session.begin():
            yield session

    async def close(self) -> None:
        await self._writer.close()
        await self._reader.close()
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
    arguments = _POSTGRESQL if parsed.query.get("pooler") != "transaction" else _POSTGRESQL_BEHIND_POOLER
    engine = create_engine(
        parsed.set(drivername="postgresql+psycopg").difference_update_query(["pooler"]),
        pool_pre_ping=True,
        pool_size=_READERS + 1,
        connect_args=arguments,
        **options,
    )
    return engine, engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)


def _bell(url: str) -> Bell:
    """What wakes the workers of a database."""
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        return Pipes(Path(f"{parsed.database}-workers"))
    if parsed.query.get("pooler") == "transaction":
        return Notifications(None)
    server = parsed.set(drivername="postgresql").render_as_string(hide_password=False)
    return Notifications(server, **_KEEPALIVE)


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
        # 16 MB instead of 4: the same pages are written again and again, and copied into the database once for all.
        connection.execute("PRAGMA wal_autocheckpoint=4000")
        connection.execute("PRAGMA foreign_keys=ON")
        connection.execute(f"PRAGMA query_only={int(query_only)}")

    @event.listens_for(engine, "begin")
    def start(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    return engine
