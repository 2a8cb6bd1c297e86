"""What every test may ask for: a migrated database of either kind, the API on it, two organizations.

The databases and the API on them are shared by a whole run, and every test brings organizations of its own: that
nobody sees another's data is what the product promises anyway. A test that runs a worker has a database to itself.
"""

import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from httpx2 import ASGITransport
from sqlalchemy import Connection

from case_orders import migrations
from case_orders.app import create_app
from case_orders.db import Database, new_id
from case_orders.edge.exchange import ASGIApp
from case_orders.settings import Settings
from case_orders.shared_session import SharedSession
from tests.support import keys
from tests.support.contract_client import ContractClient
from tests.support.postgres import ThrowawayPostgres
from tests.support.world import Tenant, populate

KINDS = ("sqlite", "postgresql")

keys.begin()


@pytest.fixture(autouse=True)
def own_ring() -> None:
    """Whatever ring the test before installed."""
    keys.use()


@pytest.fixture(scope="session")
def postgres() -> Iterator[ThrowawayPostgres]:
    """A real PostgreSQL, started for this run."""
    with ThrowawayPostgres() as server:
        yield server


@pytest.fixture(params=KINDS)
def server(request: pytest.FixtureRequest) -> Iterator[ThrowawayPostgres | None]:
    """A PostgreSQL of the test's own; None where the database is a file."""
    if request.param == "sqlite":
        yield None
        return
    with ThrowawayPostgres() as server:
        yield server


@pytest.fixture(scope="session", params=KINDS)
def new_database(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Callable[[], str]:
    """Makes migrated, empty databases of one kind; the URL of each. Tests that use it run once for each kind."""
    folder = tmp_path_factory.mktemp(request.param)
    if request.param == "sqlite":
        return _sqlite_factory(folder)
    return _postgres_factory(request.getfixturevalue("postgres"))


def _migrated(url: str) -> str:
    database = Database(url)
    migrations.upgrade(database.engine)
    database.dispose()
    return url


def _sqlite_factory(folder: Path) -> Callable[[], str]:
    template = folder / "template.db"
    _migrated(f"sqlite:///{template}")

    def make() -> str:
        return f"sqlite:///{shutil.copy(template, folder / f'{new_id()}.db')}"

    return make


def _postgres_factory(server: ThrowawayPostgres) -> Callable[[], str]:
    template = _migrated(server.create_database()).rpartition("/")[2]
    return lambda: server.create_database(template)


@pytest.fixture(scope="session")
def settings(new_database: Callable[[], str], tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Settings of the API that tests share."""
    return Settings(
        data_dir=tmp_path_factory.mktemp("data"),
        database_url=new_database(),
        outbound_allow=("127.0.0.0/8",),
        rate_failed_keys="",  # every test comes from one address
    )


@pytest.fixture(scope="session")
def database(settings: Settings) -> Iterator[Database]:
    """The database of the shared API, for a test's own looks and rows."""
    database = Database(settings.database_url)
    yield database
    database.dispose()


@pytest.fixture(scope="session")
def application(settings: Settings, database: Database) -> ASGIApp:
    """The shared API."""
    return create_app(settings, database)


def _tenant(database: Database) -> Tenant:
    tenant = Tenant(f"Organization {new_id()}")
    with database.transaction() as session:
        populate(session, tenant)
    return tenant


@pytest.fixture
def us(database: Database) -> Tenant:
    """The organization that a test acts for."""
    return _tenant(database)


@pytest.fixture
def them(database: Database) -> Tenant:
    """Another organization."""
    return _tenant(database)


@pytest.fixture
async def api(application: ASGIApp, us: Tenant) -> AsyncIterator[ContractClient]:
    """A client of the shared API with our key; every answer is held against the contract."""
    transport = ASGITransport(application)
    async with ContractClient(transport=transport, base_url="http://test/api/v1", headers=us.headers) as client:
        yield client


@pytest.fixture
def connection(database: Database, us: Tenant, them: Tenant) -> Iterator[Connection]:
    """A transaction that is undone in the end, begun after the tenants were stored: SQLite has one at a time."""
    with database.engine.connect() as connection:
        connection.begin()
        yield connection


@pytest.fixture
def session(connection: Connection) -> Iterator[SharedSession]:
    with SharedSession(connection) as session:
        yield session
