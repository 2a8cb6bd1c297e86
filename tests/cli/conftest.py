"""The command as an operator types it, on a database file of the test's own."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import orjson
import pytest
from sqlmodel import Session, select
from typer.testing import CliRunner, Result

from case_orders import migrations
from case_orders.auth import SCOPES, Caller
from case_orders.cli import app
from case_orders.db import Database
from case_orders.demo import example, rows
from case_orders.edge import contract
from handlers.cases import perform_case_action
from models import Order, Organization

Transaction: TypeAlias = Callable[[], AbstractContextManager[Session]]


class Run(Protocol):
    def __call__(self, *arguments: str, code: int = 0) -> Result: ...


class Json(Protocol):
    def __call__(self, *arguments: str) -> Any: ...


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("migrated") / "case-orders.db"
    database = Database(f"sqlite:///{path}")
    migrations.upgrade(database.engine)
    database.dispose()
    return path


@pytest.fixture
def empty_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data directory without a database, which the command finds."""
    monkeypatch.setenv("CASE_ORDERS_DATA_DIR", str(tmp_path / "data"))
    return tmp_path / "data"


@pytest.fixture
def data_dir(empty_dir: Path, migrated_file: Path) -> Path:
    """A data directory with a migrated database, which the command finds."""
    empty_dir.mkdir()
    shutil.copy(migrated_file, empty_dir)
    return empty_dir


@pytest.fixture
def run() -> Run:
    """Run the command; its exit code must be `code`."""

    def run(*arguments: str, code: int = 0) -> Result:
        result = CliRunner().invoke(app, arguments, prog_name="case-orders")
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == code, result.output
        return result

    return run


@pytest.fixture
def json(run: Run) -> Json:
    """Run the command with --json; what it printed."""
    return lambda *arguments: orjson.loads(run(*arguments, "--json").stdout)


@pytest.fixture
def transaction(data_dir: Path) -> Iterator[Transaction]:
    database = Database(f"sqlite:///{data_dir}/case-orders.db")
    yield database.transaction
    database.dispose()


@pytest.fixture
def organization(json: Json, data_dir: Path) -> str:
    """The id of an organization named Clinic."""
    created: str = json("organizations", "create", "Clinic")["id"]
    return created


@pytest.fixture
def order_id(transaction: Transaction) -> str:
    """An order of the demonstration, as the source document places it."""
    with transaction() as session:
        return place(session)


def place(session: Session) -> str:
    """The same in any database; the id of the order."""
    secret = "whsec_" + "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    body = contract.document()["components"]["examples"]["PlaceOrder"]["value"]
    rows.seed(session, pharmacy_url="http://127.0.0.1:1", request_secret=secret, report_secret=secret)
    session.flush()
    owner = session.exec(select(Organization.id).where(Organization.name == rows.ORGANIZATION)).one()
    perform_case_action(session, Caller(owner, "", SCOPES), example.CASE_ID, body)
    return session.exec(select(Order.id)).one()
