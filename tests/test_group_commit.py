"""Writes that share a commit: what is said to be done is stored, whatever the database does to the transaction."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from sqlite3 import Connection
from typing import Any

import pytest
from sqlalchemy import event, text
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlmodel import Session, select

from case_orders.db import Database, Uncertain, new_id
from models import Organization


@pytest.fixture
async def database(new_database: Callable[[], str]) -> AsyncIterator[Database]:
    database = Database(new_database())
    yield database
    await database.close()


def naming(*names: str) -> Callable[[Session], str]:
    """Writes organizations; its answer is the first one's name."""

    def write(session: Session) -> str:
        session.add_all([Organization(name=name) for name in names])
        return names[0]

    return write


def stored(database: Database) -> set[str]:
    with database.snapshot() as session:
        return set(session.exec(select(Organization.name)))


async def test_what_is_acknowledged_is_stored_when_the_disk_is_full_meanwhile(database: Database) -> None:
    if not database.is_sqlite:
        return  # PostgreSQL undoes the one statement, and says so where it cannot

    @event.listens_for(database.engine, "connect")
    def leave_little_room(connection: Connection, _record: Any) -> None:
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count={pages + 10}")

    many = [f"many {new_id()}" for _ in range(2000)]
    writes = [naming("first"), naming(*many), naming("last")]
    told = await asyncio.gather(*map(database.write, writes), return_exceptions=True)
    assert [answer if isinstance(answer, str) else type(answer) for answer in told] == [
        "first",
        OperationalError,
        "last",
    ]
    assert stored(database) == {"first", "last"}


async def test_a_transaction_that_is_gone_at_its_end_is_not_said_to_be_stored(database: Database) -> None:
    def spoil(session: Session) -> None:
        with suppress(DBAPIError):
            session.connection().execute(text("ROLLBACK" if database.is_sqlite else "SELECT 1 / 0"))

    told = await asyncio.gather(database.write(naming("first")), database.write(spoil), return_exceptions=True)
    assert [type(answer) for answer in told] == [Uncertain, Uncertain]
    assert await database.write(naming("next")) == "next"
    assert "next" in stored(database)
