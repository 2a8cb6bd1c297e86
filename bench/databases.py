"""Databases of either kind: templates, copies of them, and a look from outside."""

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Protocol

import psycopg
from sqlalchemy import make_url

from bench import cpu
from case_orders.db import new_id
from tests.support.postgres import ThrowawayPostgres

# Where a placement of one item writes a row each.
OF_AN_ORDER = ("orders", "prescription_items", "status_changes", "events", "jobs", "idempotent_answers")


class Databases(Protocol):
    """Makes databases of one kind. A URL is SQLAlchemy's."""

    kind: str
    version: str

    def create(self, template: str | None = None) -> str:
        """A new database, empty or a copy of the one at `template`, which nobody may use meanwhile."""
        ...

    def connect(self, url: str) -> Any:
        """A connection of the driver, to be closed; each statement is a transaction of its own."""
        ...

    def cpu_seconds(self) -> float:
        """The CPU time of the database server so far."""
        ...


class Sqlite:
    """Files in a folder. The database's work is done in the server's own process."""

    kind = "sqlite"
    version = f"SQLite {sqlite3.sqlite_version}"

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def create(self, template: str | None = None) -> str:
        path = self._folder / f"{new_id()}.db"
        if template is not None:
            shutil.copy(str(make_url(template).database), path)
        return f"sqlite:///{path}"

    def connect(self, url: str) -> sqlite3.Connection:
        return sqlite3.connect(str(make_url(url).database), isolation_level=None, timeout=30)

    def cpu_seconds(self) -> float:
        return 0.0


class Postgresql:
    """Databases on a server that flushes every commit to the disk."""

    kind = "postgresql"

    def __init__(self, server: ThrowawayPostgres) -> None:
        self._server = server
        with self.connect(server.create_database()) as connection:
            self.version = f"PostgreSQL {connection.execute('SHOW server_version').fetchone()[0]}"
            folder = connection.execute("SHOW data_directory").fetchone()[0]
        self._pid = int(Path(folder, "postmaster.pid").read_text().split()[0])

    def create(self, template: str | None = None) -> str:
        return self._server.create_database(str(make_url(template).database) if template else "template1")

    def connect(self, url: str) -> Any:
        return psycopg.connect(driver_url(url), autocommit=True)

    def cpu_seconds(self) -> float:
        return cpu.seconds(self._pid)


def driver_url(url: str) -> str:
    """A URL as libpq takes it."""
    return url.replace("postgresql+psycopg:", "postgresql:")


@contextmanager
def opened(kind: str, folder: Path) -> Iterator[Databases]:
    """Databases of this kind, gone at the end of the block."""
    if kind == "sqlite":
        yield Sqlite(folder)
        return
    with ThrowawayPostgres(durable=True) as server:
        yield Postgresql(server)


def rows(databases: Databases, url: str) -> list[int]:
    """How many rows each of those tables has."""
    with closing(databases.connect(url)) as connection:
        counts = (connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in OF_AN_ORDER)
        return list(map(int, counts))
