"""The oracle that has the database check itself finds what is wrong with it."""

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from case_orders import migrations
from case_orders.db import Database
from tests.faults import integrity
from tests.support.postgres import ThrowawayPostgres
from tests.support.world import Tenant, populate


@pytest.fixture
def database(server: ThrowawayPostgres | None, tmp_path: Path) -> Iterator[Database]:
    database = Database(server.create_database() if server else f"sqlite:///{tmp_path}/case-orders.db")
    migrations.upgrade(database.engine)
    with database.transaction() as session:
        populate(session, Tenant("Clinic"))
    yield database
    database.dispose()


def test_a_page_that_was_overwritten_is_found(database: Database, server: ThrowawayPostgres | None) -> None:
    assert integrity.check(database) == []
    path, begin = _page_on_the_server(database, server) if server else _page_in_the_file(database)
    with path.open("r+b") as file:
        file.seek(begin)
        file.write(b"\xff" * 100)
    if server:
        server.start()
    assert integrity.check(database)


def _page_on_the_server(database: Database, server: ThrowawayPostgres) -> tuple[Path, int]:
    """The first page with drugs, and where in its file it begins; the server is stopped by then."""
    with database.engine.begin() as connection:
        name = connection.execute(text("SELECT pg_relation_filepath('drugs')")).scalar_one()
    database.dispose()
    server.stop()
    return next(path for path in server.files() if str(path).endswith(name)), 0


def _page_in_the_file(database: Database) -> tuple[Path, int]:
    with database.engine.begin() as connection:
        number = connection.execute(text("SELECT rootpage FROM sqlite_master WHERE name = 'drugs'")).scalar_one()
        size = connection.execute(text("PRAGMA page_size")).scalar_one()
    database.dispose()  # the last one to leave empties the write-ahead log
    return Path(str(database.engine.url.database)), (number - 1) * size


def test_a_row_that_refers_to_nothing_is_found(tmp_path: Path) -> None:
    path = tmp_path / "case-orders.db"
    with contextlib.closing(sqlite3.connect(path)) as careless:
        careless.execute("CREATE TABLE organizations (id TEXT PRIMARY KEY)")
        careless.execute("CREATE TABLE drugs (organization_id TEXT REFERENCES organizations)")
        careless.execute("INSERT INTO drugs VALUES ('nobody')")
        careless.commit()
    database = Database(f"sqlite:///{path}")
    assert integrity.check(database) == ["drugs refers to nothing"]
    database.dispose()
