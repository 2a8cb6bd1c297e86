"""What a command imports before it does its work: the rest would only keep it waiting."""

import gc
import subprocess
import sys
from importlib import import_module

import pytest

from case_orders.cli import NOUNS
from case_orders.cli.imports import importing


def imported(*arguments: str) -> set[str]:
    """The modules that a command imports until it serves, works or ends."""
    names = set()
    command = [sys.executable, "-X", "importtime", "-m", "case_orders", *arguments]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("import time:"):
                names.add(line.rpartition("|")[2].strip())
            elif '"serving"' in line or '"working"' in line:
                process.terminate()
    return names


@pytest.mark.usefixtures("data_dir")
def test_the_api_imports_neither_alembic_nor_the_demonstrations_programs_nor_the_worker() -> None:
    names = imported("serve", "--no-worker", "--port", "0")
    assert {"case_orders.app", "connexion"} <= names
    assert names.isdisjoint({"alembic", "aiohttp.web", "case_orders.worker"})
    assert names.isdisjoint({"case_orders.demo.showing", "case_orders.demo.receiver"})


@pytest.mark.usefixtures("data_dir")
def test_a_worker_imports_neither_alembic_nor_the_api() -> None:
    names = imported("worker")
    assert "case_orders.worker" in names
    assert names.isdisjoint({"alembic", "aiohttp.web", "case_orders.app", "connexion", "starlette", "uvicorn"})


@pytest.mark.parametrize("arguments", [("--help",), ("serve", "--help")], ids=" ".join)
def test_the_help_imports_nothing_of_the_service(arguments: tuple[str, ...]) -> None:
    names = imported(*arguments)
    assert "case_orders.cli" in names
    assert names.isdisjoint({"sqlalchemy", "aiohttp", "connexion", "case_orders.db", "handlers", "models"})


@pytest.mark.usefixtures("data_dir")
def test_a_command_imports_neither_another_noun_nor_the_api() -> None:
    names = imported("jobs", "list")
    assert "case_orders.outbox" in names
    assert names.isdisjoint({f"case_orders.cli.{noun}" for noun in NOUNS} | {"alembic", "connexion", "handlers"})


def test_the_garbage_collector_rests_while_modules_are_imported_and_no_longer() -> None:
    with pytest.raises(ImportError), importing():
        import_module("nothing" if not gc.isenabled() else "gc")
    assert gc.isenabled()


def test_what_a_batch_makes_is_mostly_gone_before_the_garbage_collector_looks_at_it() -> None:
    before = gc.get_threshold()
    try:
        gc.set_threshold(700)
        with importing():
            pass
        assert gc.get_threshold()[0] >= 10_000
    finally:
        gc.set_threshold(*before)
