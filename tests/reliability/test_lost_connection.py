"""PostgreSQL ends a connection in the middle of something: reads go on, writes happen once or not at all."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from httpx2 import ASGITransport
from sqlalchemy import Connection, event, text
from sqlmodel import Session, func, select

from case_orders import migrations
from case_orders.app import create_app
from case_orders.db import UNAVAILABLE, Database
from case_orders.settings import Settings
from models import Event, Job, Order, Organization
from tests.support.contract_client import ContractClient
from tests.support.orders import documented
from tests.support.postgres import ThrowawayPostgres
from tests.support.world import Tenant, populate

OWN_END = "SELECT pg_terminate_backend(pg_backend_pid())"


@pytest.fixture
async def database(postgres: ThrowawayPostgres) -> AsyncIterator[Database]:
    database = Database(postgres.create_database())
    migrations.upgrade(database.engine)
    yield database
    await database.close()


@pytest.fixture
def endings(database: Database) -> Iterator[list[str]]:
    """Whatever stands in it ends a connection that is about to commit, once each."""
    waiting: list[str] = []

    def end(connection: Connection) -> None:
        if waiting:
            waiting.pop()
            pid = connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
            with other.engine.connect() as another:
                another.execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": pid})

    other = Database(database.engine.url.render_as_string(hide_password=False))
    event.listen(database.engine, "commit", end)
    yield waiting
    event.remove(database.engine, "commit", end)
    other.dispose()


def _end_own_connection(session: Session) -> None:
    session.connection().exec_driver_sql(OWN_END)


async def test_a_read_whose_connection_was_ended_runs_once_more(database: Database) -> None:
    runs = 0

    def look(session: Session) -> int:
        nonlocal runs
        runs += 1
        if runs == 1:
            _end_own_connection(session)
        return session.exec(select(func.count()).select_from(Order)).one()

    assert await database.read(look) == 0
    assert runs == 2


async def test_a_read_that_ends_every_connection_is_given_up(database: Database) -> None:
    with pytest.raises(UNAVAILABLE):
        await database.read(_end_own_connection)


async def test_a_write_whose_connection_ended_before_its_commit_did_not_happen(database: Database) -> None:
    def write(session: Session) -> None:
        session.add(Organization(name="Clinic"))
        session.flush()
        _end_own_connection(session)

    with pytest.raises(UNAVAILABLE):
        await database.write(write)
    assert await database.read(lambda session: session.exec(select(Organization)).all()) == []


async def test_an_order_whose_connection_ended_at_its_commit_is_answered_with_503_and_stored_once_when_repeated(
    database: Database, endings: list[str], tmp_path: Path
) -> None:
    tenant = Tenant("Clinic")
    with database.transaction() as session:
        populate(session, tenant)
    endings.append("the first commit")
    transport = ASGITransport(create_app(Settings(data_dir=tmp_path), database))
    headers = tenant.headers | {"Idempotency-Key": "one"}
    async with ContractClient(transport=transport, base_url="http://test/api/v1", headers=headers) as api:
        first = await api.post(f"/cases/{tenant.case_id}", json=documented())
        assert (first.status_code, "Retry-After" in first.headers) == (503, True)
        second = await api.post(f"/cases/{tenant.case_id}", json=documented())
    assert second.status_code == 200
    for table in (Order, Event, Job):
        assert (
            await database.read(lambda session, t=table: session.exec(select(func.count()).select_from(t)).one()) == 1
        )
