"""What holds of the house as a whole: contract and handlers, errors and their page, models and migrations, layers."""

import ast
import inspect
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, event
from sqlmodel import SQLModel
from sqlmodel.main import default_registry

import models
from case_orders import errors, migrations
from case_orders.auth import SCOPES
from case_orders.db import Database
from case_orders.documents import DocumentStore
from case_orders.edge import contract
from case_orders.edge.parameters import snake_case
from case_orders.edge.schema import _CODES
from case_orders.errors import Refusal
from case_orders.migrations import steps
from case_orders.settings import Settings
from models import Document
from tests.conftest import KINDS
from tests.handlers.steps import ask, objects
from tests.support.contract_client import ContractClient
from tests.support.postgres import ThrowawayPostgres
from tests.support.world import Tenant

ROOT = Path(__file__).parents[1]
OPERATIONS = contract.operations()
TAGS = {operation.tag.lower() for operation in OPERATIONS.values()}
WITH_KEY = sorted(operation.id for operation in OPERATIONS.values() if operation.needs_key)

# ---- contract and handlers --------------------------------------------------------------------------------------


def test_every_operation_has_its_handler_and_every_handler_its_operation() -> None:
    handlers = {
        (tag, name)
        for tag in TAGS
        for name, function in inspect.getmembers(import_module(f"handlers.{tag}"), inspect.isfunction)
        if function.__module__ == f"handlers.{tag}" and not name.startswith("_")
    }
    assert handlers == {(operation.tag.lower(), snake_case(operation.id)) for operation in OPERATIONS.values()}


def test_every_operation_needs_a_scope_that_exists_unless_it_says_that_it_needs_no_key() -> None:
    for operation in OPERATIONS.values():
        assert operation.needs_key == (operation.scope is not None), operation.id
        assert operation.needs_key or operation.spec["security"] == [], operation.id
    assert {operation.scope for operation in OPERATIONS.values()} - {None} == SCOPES


def test_the_operations_without_a_key_are_those_that_prove_themselves_or_show_nothing() -> None:
    assert set(OPERATIONS) - set(WITH_KEY) == {
        "downloadDocumentByLink",
        "receivePharmacyEvent",
        "getLiveness",
        "getReadiness",
    }


@pytest.mark.parametrize("operation_id", WITH_KEY)
async def test_every_operation_succeeds_with_its_own_example(
    api: ContractClient, us: Tenant, database: Database, settings: Settings, operation_id: str
) -> None:
    ours = await objects(api, database, us)
    with database.transaction() as session:
        key = session.get_one(Document, ours["documentId"]).storage_key
    await DocumentStore.open(settings.document_store).put(key, b"%")
    answer = await ask(api, operation_id, ours)
    assert answer.is_success, answer.text


# ---- errors and their page --------------------------------------------------------------------------------------

PAGE = (ROOT / "docs" / "errors.md").read_text()
REFUSALS = {name: kind for name, kind in vars(errors).items() if inspect.isclass(kind) and issubclass(kind, Refusal)}


def calls() -> Iterator[tuple[str, list[ast.expr]]]:
    """Every call in our code: the name of what is called, and its positional arguments."""
    for tree in map(ast.parse, (path.read_text() for path in sources())):
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                yield node.func.id, node.args


def sources() -> Iterator[Path]:
    for package in ("case_orders", "handlers", "models"):
        yield from (ROOT / package).rglob("*.py")


def constant(arguments: list[ast.expr], place: int) -> str | None:
    found = arguments[place] if len(arguments) > place else None
    return found.value if isinstance(found, ast.Constant) and isinstance(found.value, str) else None


def refusals_used() -> set[tuple[int, str]]:
    """Status and code of every refusal that the code makes."""
    made = {(REFUSALS[name].status, constant(args, 1)) for name, args in calls() if name in REFUSALS}
    return {(status, code) for status, code in made if code is not None} | {(400, "invalid_request")}


def problems_used() -> set[str]:
    """The code of every problem that `details` can name."""
    made = {constant(args, 2) for name, args in calls() if name in ("Problem", "_problem")}
    return {code for code in made if code is not None} | set(_CODES.values()) | {"invalid"}


def test_every_refusal_has_a_code_that_stands_in_the_source() -> None:
    assert all(constant(args, 1) for name, args in calls() if name in REFUSALS)


def test_every_code_of_an_answer_is_documented_and_nothing_else() -> None:
    documented = {(int(status), code) for status, code in re.findall(r"^\| (\d{3}) \| `(\w+)` \|", PAGE, re.MULTILINE)}
    assert documented == refusals_used()


def test_every_code_of_a_problem_is_documented_and_nothing_else() -> None:
    assert set(re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE)) == problems_used()


# ---- models and migrations --------------------------------------------------------------------------------------


@pytest.fixture(params=KINDS)
def empty_database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a database without tables."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/empty.db"
    url: str = request.getfixturevalue("postgres").create_database()
    return url


def state(url: str) -> tuple[bool, list[object]]:
    """Whether a database is at head, and how its tables differ from the models."""
    database = Database(url)
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        found = migrations.at_head(connection), list(compare_metadata(context, SQLModel.metadata))
    database.dispose()
    return found


def test_the_last_number_is_the_one_head_of_the_migrations(database: Database) -> None:
    with database.engine.connect() as connection:
        chain = ScriptDirectory.from_config(steps.config(connection))
    assert chain.get_heads() == [migrations.head()]


def test_the_migrations_make_the_tables_of_the_models(database: Database) -> None:
    assert state(database.engine.url.render_as_string(hide_password=False)) == (True, [])


def test_a_migration_may_take_its_time(postgres: ThrowawayPostgres) -> None:
    database = Database(postgres.create_database())
    limits: list[str] = []

    def look(connection: Connection) -> None:
        limits.extend(
            connection.exec_driver_sql(f"SHOW {name}").scalar_one() for name in ("statement_timeout", "lock_timeout")
        )

    event.listen(database.engine, "commit", look)
    migrations.upgrade(database.engine)
    assert limits == ["0", "0"]
    event.remove(database.engine, "commit", look)
    with database.engine.connect() as connection:
        look(connection)
    assert limits[2:] == ["30s", "3s"]
    database.dispose()


def test_to_migrate_again_changes_nothing(empty_database: str) -> None:
    database = Database(empty_database)
    for _ in range(2):
        migrations.upgrade(database.engine)
    database.dispose()
    assert state(empty_database) == (True, [])


def test_processes_that_migrate_at_once_take_turns(empty_database: str) -> None:
    program = "import sys; from case_orders import migrations as m; from case_orders.db import Database as D; " + (
        "m.upgrade(D(sys.argv[1]).engine)"
    )
    processes = [subprocess.Popen([sys.executable, "-c", program, empty_database]) for _ in range(2)]
    assert [process.wait(timeout=60) for process in processes] == [0, 0]
    assert state(empty_database) == (True, [])


def test_every_table_is_exported_by_the_models() -> None:
    tables = {mapper.class_.__name__ for mapper in default_registry.mappers}
    assert tables == set(models.__all__)


# ---- layers -----------------------------------------------------------------------------------------------------

# Who may know of which library.
KNOWN = {
    "connexion": ("case_orders/edge/",),
    "starlette": ("case_orders/edge/",),
    "uvicorn": ("case_orders/edge/",),
    # Only the two that play somebody else call anybody but by the guarded client.
    "aiohttp": ("case_orders/outbound/", "case_orders/pharmacies/sandbox/", "case_orders/demo/"),
}


def imported(path: Path) -> set[str]:
    """The packages that a module imports."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.partition(".")[0])
    return found


@pytest.mark.parametrize("library", KNOWN)
def test_a_web_framework_is_known_where_it_belongs_and_nowhere_else(library: str) -> None:
    users = {str(path.relative_to(ROOT)) for path in sources() if library in imported(path)}
    assert users
    assert [user for user in users if not user.startswith(KNOWN[library])] == []


def test_models_keep_their_annotations_as_types() -> None:
    for path in (ROOT / "models").glob("*.py"):
        assert "__future__" not in imported(path), f"SQLModel reads annotations: {path.name}"
