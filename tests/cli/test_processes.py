import os
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from sqlmodel import select

from case_orders import migrations
from case_orders.edge import contract
from case_orders.edge.server import listen
from models import Organization
from tests.cli.conftest import Run, Transaction
from tests.support import keys

NEEDS_DATABASE = [
    ("organizations", "list"),
    ("keys", "list", "Clinic"),
    ("cases", "create", "Clinic", "--first-name", "Jane", "--last-name", "Doe"),
    ("cases", "import", "Clinic", str(contract.path())),
    ("pharmacies", "list", "Clinic"),
    ("drugs", "import", "Clinic", str(contract.path())),
    ("orders", "list"),
    ("jobs", "list"),
    ("deliveries", "list"),
]


def test_migrating_says_from_where_to_where(run: Run, empty_dir: Path) -> None:
    head = migrations.head()
    assert run("migrate").stderr == f"The database went from nothing to {head}.\n"
    assert run("migrate").stderr == f"The database is at {head}.\n"
    run("organizations", "list")


@pytest.fixture
def unmigrated_dir(empty_dir: Path) -> Path:
    """A data directory with a database in which no step was taken."""
    empty_dir.mkdir()
    (empty_dir / "case-orders.db").touch()
    return empty_dir


@pytest.mark.parametrize("arguments", NEEDS_DATABASE, ids=" ".join)
def test_a_command_on_a_database_that_is_not_migrated_says_so(
    run: Run, unmigrated_dir: Path, arguments: tuple[str, ...]
) -> None:
    result = run(*arguments, code=4)
    assert result.stderr == "The database is not migrated: run case-orders migrate.\n"
    assert result.stdout == ""


@pytest.mark.parametrize("arguments", [*NEEDS_DATABASE, ("worker",)], ids=" ".join)
def test_a_command_that_is_told_a_wrong_directory_says_so_and_makes_nothing(
    run: Run, empty_dir: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    monkeypatch.delenv(keys.VARIABLE)
    result = run(*arguments, code=4)
    assert result.stderr == (
        f"There is no database at {empty_dir}/case-orders.db: is CASE_ORDERS_DATA_DIR that of the service?\n"
    )
    assert not empty_dir.exists()


def test_a_command_whose_database_is_a_directory_says_in_a_sentence_that_it_will_not_do(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CASE_ORDERS_DATABASE_URL", "sqlite:////dev")
    assert run("organizations", "list", code=4).stderr == "The database is out of reach.\n"


@pytest.mark.usefixtures("_logs_as_they_are")
@pytest.mark.parametrize("command", [("migrate",), ("serve", "--port", "0")])
def test_a_place_that_will_not_do_is_named_with_the_reason(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, command: tuple[str, ...]
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("CASE_ORDERS_DATA_DIR", f"{tmp_path}/file/data")
    monkeypatch.delenv(keys.VARIABLE)
    stderr = run(*command, code=4).stderr
    assert stderr == (
        f"Cannot use {tmp_path}/file/data: Not a directory. Run the command as the service's user, with its settings.\n"
    )


@pytest.mark.usefixtures("_logs_as_they_are")
@pytest.mark.parametrize("command", [("organizations", "list"), ("worker",), ("serve", "--port", "0", "--no-worker")])
def test_a_file_that_is_no_database_is_told_in_a_sentence(run: Run, empty_dir: Path, command: tuple[str, ...]) -> None:
    empty_dir.mkdir()
    (empty_dir / "case-orders.db").write_text("nothing that SQLite knows " * 100)
    assert run(*command, code=1).stderr == "The database refused: DatabaseError SQLITE_NOTADB.\n"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "secret"),
        ("OUTBOUND_ALLOW", "127.0.0.0/8,secret"),
        ("LOG_LEVEL", "secret"),
        ("LINK_SECRET", "secret"),
        ("PUBLIC_URL", "secret.example.com/"),
        ("PUBLIC_URL", "https:///secret"),
        ("PUBLIC_URL", "ftp://secret.example.com"),
        ("PUBLIC_URL", "http://secret.example.com:port"),
        ("DATABASE_URL", "secret"),
        ("DATABASE_URL", "oracle://user:secret@localhost/x"),
        ("DATABASE_URL", "postgresql://user:secret@localhost"),
        ("DATABASE_URL", "sqlite://"),
        ("DOCUMENT_STORE", "ftp://secret"),
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("command", ["serve", "worker"])
def test_a_setting_that_is_not_valid_is_named_without_its_value(
    run: Run, empty_dir: Path, monkeypatch: pytest.MonkeyPatch, command: str, name: str, value: str
) -> None:
    monkeypatch.setenv(f"CASE_ORDERS_{name}", value)
    stderr = run(command, code=1).stderr
    assert len(stderr.splitlines()) == 1
    assert f"CASE_ORDERS_{name} is not valid" in stderr
    assert "secret" not in stderr.replace("link_secret", "")


def test_a_link_secret_that_is_too_short_is_told_how_long_one_is(
    run: Run, empty_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CASE_ORDERS_LINK_SECRET", "guessed")
    assert "at least 32 characters" in run("serve", code=1).stderr


def test_a_worker_needs_a_database_that_is_migrated(run: Run, unmigrated_dir: Path) -> None:
    assert run("worker", code=4).stderr == "The database is not migrated: run case-orders migrate.\n"


def test_a_worker_whose_database_is_away_says_so_in_a_sentence(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CASE_ORDERS_DATABASE_URL", "postgresql://nobody:secret@127.0.0.1:9/nothing")
    assert run("worker", code=4).stderr == "The database is out of reach.\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ("organizations", "list"),
        ("keys", "list", "Clinic"),
        ("pharmacies", "list", "Clinic"),
        ("orders", "list"),
        ("jobs", "list"),
        ("deliveries", "list"),
    ],
    ids=" ".join,
)
def test_a_command_that_only_looks_waits_for_nobody_who_writes(
    run: Run, organization: str, transaction: Transaction, arguments: tuple[str, ...]
) -> None:
    started = time.monotonic()
    with transaction() as session:
        session.add(Organization(name="Written meanwhile"))
        session.flush()
        run(*arguments)
    assert time.monotonic() - started < 10


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.com", ""])
def test_the_demonstration_is_served_to_this_machine_only(run: Run, empty_dir: Path, host: str) -> None:
    assert "loopback" in run("serve", "--demo", "--host", host, code=1).stderr
    assert not empty_dir.exists()


def test_the_sandbox_pharmacy_takes_its_secrets_from_the_environment(run: Run, empty_dir: Path) -> None:
    assert "CASE_ORDERS_SANDBOX_REQUEST_SECRET" in run("sandbox-pharmacy", code=1).stderr
    assert "secret" not in run("sandbox-pharmacy", "--help").stdout.replace("_SECRET", "").split("Options")[1]


def test_the_help_says_what_the_exit_codes_mean(run: Run) -> None:
    help_ = run("--help").stdout
    for line in ("0  done", "3  not found", "4  the database is not there"):
        assert line in help_
    assert "webhook-receiver" not in help_


def test_the_command_runs_as_a_module_and_its_exit_code_reaches_the_shell(empty_dir: Path) -> None:
    command = [sys.executable, "-m", "case_orders", "orders", "list"]
    done = subprocess.run(command, env=dict(os.environ), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (4, "")


@pytest.fixture
def _logs_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process sets up its logs once and for all; this one is the tests'."""
    monkeypatch.setattr("case_orders.logs.configure", lambda level: None)


@pytest.mark.usefixtures("_logs_as_they_are")
def test_serving_where_another_listens_says_so_in_a_sentence(run: Run, empty_dir: Path) -> None:
    with listen("127.0.0.1", 0) as taken:
        taken.listen()
        refused = run("serve", "--port", str(taken.getsockname()[1]), code=1)
    assert refused.stderr == "Cannot start: Address already in use.\n"


@pytest.mark.usefixtures("_logs_as_they_are")
def test_the_demonstration_is_not_put_into_a_database_of_others(
    run: Run, organization: str, data_dir: Path, transaction: Transaction, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CASE_ORDERS_DATABASE_URL", f"sqlite:///{data_dir}/case-orders.db")
    refused = run("serve", "--demo", "--port", "0", code=1)
    assert "other organizations" in refused.stderr
    with transaction() as session:
        assert session.exec(select(Organization.name)).all() == ["Clinic"]


@pytest.mark.usefixtures("_logs_as_they_are")
def test_the_demonstration_refuses_a_database_of_others_before_it_migrates_it(
    run: Run, organization: str, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = data_dir / "case-orders.db"
    monkeypatch.setenv("CASE_ORDERS_DATABASE_URL", f"sqlite:///{path}")
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    assert "other organizations" in run("serve", "--demo", "--port", "0", code=1).stderr


@pytest.mark.usefixtures("_logs_as_they_are")
def test_serving_under_a_secret_that_can_be_guessed_is_refused_in_a_sentence(run: Run, data_dir: Path) -> None:
    (data_dir / "link-secret").write_text("guessed")
    assert "link-secret must hold at least 32 characters" in run("serve", "--port", "0", "--no-worker", code=1).stderr


@pytest.mark.usefixtures("_logs_as_they_are")
@pytest.mark.parametrize("command", [("serve", "--port", "0"), ("worker",), ("migrate",), ("organizations", "list")])
def test_a_database_of_a_newer_version_is_told_in_a_sentence(
    run: Run, data_dir: Path, command: tuple[str, ...]
) -> None:
    with sqlite3.connect(data_dir / "case-orders.db") as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    assert run(*command, code=4).stderr == (
        "The database is newer than this version of case-orders: "
        "install the newer version, or restore the backup from before the upgrade.\n"
    )


def test_the_database_file_is_for_its_owner_alone(run: Run, empty_dir: Path) -> None:
    run("migrate")
    assert (empty_dir / "case-orders.db").stat().st_mode & 0o777 == 0o600
