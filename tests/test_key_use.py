"""When a key was last used: noted by requests, written down now and then."""

from collections.abc import AsyncIterator, Callable
from datetime import datetime

import pytest
from sqlalchemy import event
from sqlmodel import SQLModel

from case_orders.auth import new_key, store_key
from case_orders.db import Database, now
from case_orders.key_use import KeyUse
from case_orders.settings import Settings
from models import ApiKey, Organization
from tests.edge.wire import serving


@pytest.fixture
async def database(new_database: Callable[[], str]) -> AsyncIterator[Database]:
    database = Database(new_database())
    yield database
    await database.close()


def a_key(database: Database, key: str = "") -> str:
    with database.transaction() as session:
        session.add(organization := Organization(name="Clinic"))
        session.flush()
        return store_key(session, organization.id, "app", key or new_key()).id


def last_use(database: Database, key_id: str) -> datetime | None:
    with database.snapshot() as session:
        return session.get_one(ApiKey, key_id).last_used_at


async def test_a_note_is_written_down_at_the_end_at_the_latest(database: Database) -> None:
    key_id, uses = a_key(database), KeyUse(database)
    before = now()
    async with uses.kept():
        uses.note(key_id)
        assert last_use(database, key_id) is None
    written = last_use(database, key_id)
    assert written is not None
    assert before <= written <= now()


async def test_many_uses_are_one_write(database: Database) -> None:
    key_id, uses = a_key(database), KeyUse(database)
    writes: list[str] = []

    def look(_connection: object, _cursor: object, statement: str, *_more: object) -> None:
        if statement.startswith("UPDATE api_keys"):
            writes.append(statement)

    event.listen(database.engine, "before_cursor_execute", look)
    for _ in range(100):
        uses.note(key_id)
    await uses.write()
    await uses.write()
    assert len(writes) == 1


async def test_a_later_use_stays_whoever_writes_last(database: Database) -> None:
    key_id, early, late = a_key(database), KeyUse(database), KeyUse(database)
    early.note(key_id)
    late.note(key_id)
    await late.write()
    written = last_use(database, key_id)
    await early.write()
    assert last_use(database, key_id) == written


async def test_a_database_that_cannot_take_it_hurts_nobody(database: Database) -> None:
    uses = KeyUse(database)
    uses.note(a_key(database))
    SQLModel.metadata.drop_all(database.engine)
    await uses.write()


def test_a_service_that_stops_has_written_when_its_keys_were_used(
    settings: Settings, new_database: Callable[[], str]
) -> None:
    settings = settings.model_copy(update={"database_url": new_database()})
    database, key = Database(settings.database_url), new_key()
    key_id = a_key(database, key)
    with serving(settings) as service:
        assert service.request("GET", "/api/v1/orders", {"cv-api-key": key}).status == 200
    assert last_use(database, key_id) is not None
    database.dispose()
