"""Wake-ups: a commit that promised jobs wakes the workers, so that they need not look for jobs all the time.

They are a courtesy. One may be lost, and one may come for nothing: after a rollback, or because another worker was
quicker. Workers look for due jobs now and then all the same.
"""

import asyncio
import errno
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol
from uuid import uuid4

import psycopg
import structlog
from sqlalchemy import Connection, Engine, event

log = structlog.get_logger("case_orders.wakeups")

_PROMISED = "jobs were promised"
_CHANNEL = "case_orders_jobs"
_CONNECT_AGAIN_SECONDS = 1


class Bell(Protocol):
    """What rings in every worker of a database."""

    def ring(self, connection: Any) -> None:
        """Wake whoever listens. `connection` is the driver's, with no transaction under way."""

    def listening(self, wake: Callable[[], None]) -> AbstractAsyncContextManager[None]:
        """Call `wake` in the event loop, at each ring and whenever one may have been missed, until the block ends."""


def jobs_promised(connection: Connection) -> None:
    """Have the bell rung once for this transaction, when it is over."""
    connection.info[_PROMISED] = True


def ring_after_commits(engine: Engine, bell: Bell) -> None:
    """Ring when a connection comes back to the pool, which is after its commit, whoever began the transaction."""

    @event.listens_for(engine, "checkin")
    def ring(connection: Any, record: Any) -> None:
        if record.info.pop(_PROMISED, False) and connection is not None:
            try:
                bell.ring(connection)
            except Exception as failure:  # the commit is done: whatever this is, nobody may take it for undone
                log.warning("wake-ups interrupted", error=type(failure).__name__)


class Notifications:
    """PostgreSQL's own. https://www.postgresql.org/docs/current/sql-notify.html

    The notification follows the commit in a transaction of its own: within it, it would hold a lock of the whole
    server while the commit is flushed. None arrive through a pooler that lends connections for one transaction each.
    """

    def __init__(self, url: str | None, **options: Any) -> None:
        """`url` is libpq's; None where such a pooler stands in between."""
        self._url = url
        self._options = options

    def ring(self, connection: psycopg.Connection[Any]) -> None:
        with suppress(psycopg.Error):
            connection.autocommit = True
            try:
                connection.execute(f"NOTIFY {_CHANNEL}")
            finally:
                connection.autocommit = False

    @asynccontextmanager
    async def listening(self, wake: Callable[[], None]) -> AsyncIterator[None]:
        if self._url is None:
            yield
            return
        listener = asyncio.create_task(self._listen(self._url, wake))
        try:
            yield
        finally:
            listener.cancel()
            await asyncio.gather(listener, return_exceptions=True)

    async def _listen(self, url: str, wake: Callable[[], None]) -> None:
        while True:
            try:
                await self._pass_on(url, wake)
            except psycopg.Error as failure:
                log.warning("wake-ups interrupted", error=type(failure).__name__)
            await asyncio.sleep(_CONNECT_AGAIN_SECONDS)

    async def _pass_on(self, url: str, wake: Callable[[], None]) -> None:
        async with await psycopg.AsyncConnection.connect(url, autocommit=True, **self._options) as connection:
            await connection.execute(f"LISTEN {_CHANNEL}")
            wake()
            async for _ in connection.notifies():
                wake()


class Pipes:
    """For processes on one host: each listener has a named pipe in `directory`."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def ring(self, connection: object) -> None:
        with suppress(FileNotFoundError):  # no worker ever listened
            for pipe in self._directory.iterdir():
                if pipe.suffix == ".pipe":
                    _write_to(pipe)

    @asynccontextmanager
    async def listening(self, wake: Callable[[], None]) -> AsyncIterator[None]:
        self._directory.mkdir(mode=0o700, exist_ok=True)
        loop = asyncio.get_running_loop()
        with _pipe(self._directory / f"{uuid4()}.pipe") as descriptor:

            def take() -> None:
                os.read(descriptor, 4096)
                wake()

            loop.add_reader(descriptor, take)
            try:
                wake()
                yield
            finally:
                loop.remove_reader(descriptor)


@contextmanager
def _pipe(path: Path) -> Iterator[int]:
    """A new pipe, open for reading. It gets its name once it is open: until then it would be taken for abandoned."""
    unopened = path.with_suffix(".new")
    os.mkfifo(unopened, 0o600)
    # For writing too: without a writer it would be readable all the time.
    descriptor = os.open(unopened, os.O_RDWR | os.O_NONBLOCK)
    unopened.rename(path)
    try:
        yield descriptor
    finally:
        path.unlink(missing_ok=True)
        os.close(descriptor)


def _write_to(pipe: Path) -> None:
    try:
        descriptor = os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
    except FileNotFoundError:
        return
    except OSError as failure:
        if failure.errno == errno.ENXIO:  # its reader died
            pipe.unlink(missing_ok=True)
        return
    try:
        with suppress(OSError):  # it is full of wake-ups, or its reader died just now
            os.write(descriptor, b"!")
    finally:
        os.close(descriptor)
