"""docs/operations.md and the code tell the same."""

import os
import re
import shlex
from datetime import timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from case_orders.cli import app
from case_orders.edge import contract
from case_orders.settings import Settings
from case_orders.webhooks.delivery import SCHEDULE
from case_orders.worker import _LONGEST_PAUSE, KINDS
from handlers.service import LONGEST_WAIT_SECONDS
from models.sealing import SealedTable
from tests.docs import pages

PAGE = pages.read("docs/operations.md")
SETTINGS = {cells[0].strip("`"): cells[1].strip("`") for cells in pages.rows(pages.section(PAGE, "Settings"))}


@pytest.fixture
def untouched(monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment in which nothing is set."""
    for name in os.environ:
        if name.startswith("CASE_ORDERS_"):
            monkeypatch.delenv(name)
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.setenv("HOME", "/home/operator")


def test_the_table_names_every_setting_in_the_codes_order() -> None:
    assert list(SETTINGS) == [f"CASE_ORDERS_{name.upper()}" for name in Settings.model_fields]


@pytest.mark.parametrize("name", Settings.model_fields)
def test_a_setting_has_the_default_that_the_table_tells(name: str, untouched: None) -> None:
    told = SETTINGS[f"CASE_ORDERS_{name.upper()}"].replace("~", "/home/operator")
    settings = Settings()
    places = {"data_dir": settings.data_dir, "host": settings.host, "port": settings.port}
    assert told.format(**places) == _shown(getattr(settings, name))


def _shown(value: object) -> str:
    match value:
        case None | ():
            return "none"
        case float():
            return f"{value:g}"
        case tuple():
            return ",".join(value)
    return str(value)


def test_the_embedded_database_and_the_documents_lie_below_the_data_directory(untouched: None) -> None:
    settings = Settings(data_dir=Path("/srv/data"))
    assert settings.database_url == "sqlite:////srv/data/case-orders.db"
    assert settings.document_store == "file:///srv/data/documents"


def test_an_organization_is_set_up_as_the_page_says(
    tmp_path: Path, untouched: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CASE_ORDERS_DATA_DIR", str(tmp_path / "data"))
    Path("drugs.csv").write_text("code,name,schedule\ndrug-1,Lisinopril,\n")
    Path("cases.csv").write_text("reference,firstName,lastName\nchart-1,Jane,Doe\n")
    (block,) = pages.blocks(pages.section(PAGE, "Set up an organization"), "sh")
    for line in block.splitlines():
        done = CliRunner().invoke(app, shlex.split(line)[1:], prog_name="case-orders")
        assert done.exit_code == 0, f"{line}\n{done.output}"


def test_the_table_of_jobs_names_every_kind_with_its_attempts() -> None:
    told = [cells for cells in pages.rows(pages.section(PAGE, "At 3 a.m.")) if cells[2].isdecimal()]
    assert {cells[0].strip("`"): int(cells[2]) for cells in told} == {str(kind): KINDS[kind].attempts for kind in KINDS}


def test_the_table_of_jobs_tells_how_long_a_kind_is_tried() -> None:
    told = {cells[0].strip("`"): cells[3] for cells in pages.rows(pages.section(PAGE, "At 3 a.m."))}
    words = {12: "half an hour", 24: "3.5 hours", 48: "9.5 hours"}
    pauses = {attempts: sum((_pause(n) for n in range(1, attempts)), timedelta()) for attempts in words}
    assert {attempts: round(pause / timedelta(hours=1), 1) for attempts, pause in pauses.items()} == {
        12: 0.5,
        24: 3.5,
        48: 9.5,
    }
    for kind in KINDS:
        if kind != "deliver_webhook":
            assert told[kind] == words[KINDS[kind].attempts]
    assert told["deliver_webhook"] == f"{sum(SCHEDULE, timedelta()) / timedelta(hours=1):.0f} hours"


def _pause(attempt: int) -> timedelta:
    return min(timedelta(seconds=2 ** (attempt - 1)), _LONGEST_PAUSE)


def test_what_the_page_looks_for_after_a_theft_are_operations_of_the_contract() -> None:
    (told,) = re.findall(r"""grep -E '"\((.+)\)"'""", PAGE)
    assert set(told.split("|")) <= contract.operations().keys()
    assert {name for name in contract.operations() if re.fullmatch("(create|update|delete)Webhook", name)} <= {
        *told.split("|")
    }


def test_the_events_of_the_logs_are_those_that_the_code_writes() -> None:
    told = {name for cells in pages.rows(pages.section(PAGE, "Logs")) for name in re.findall(r"`([^`]+)`", cells[0])}
    code = [path.read_text() for path in (pages.ROOT / "case_orders").rglob("*.py") if "sandbox" not in path.parts]
    written = {name for text in code for name in re.findall(r'\blog\.\w+\(\s*"([^"]+)"', text)}
    assert told == written


def test_the_reasons_that_the_page_quotes_are_those_of_the_code() -> None:
    quoted = re.findall(r"`(the pharmacy [^`]+|address is [^`]+)`", " ".join(PAGE.split()))
    code = "".join((pages.ROOT / "case_orders" / p).read_text() for p in ("pharmacies/http.py", "outbound/client.py"))
    assert len(quoted) > 3
    assert [reason for reason in quoted if re.sub(r"\d+", "{status}", reason) not in code] == []


def test_the_readiness_check_of_jobs_fails_when_the_page_says() -> None:
    assert f"more than {LONGEST_WAIT_SECONDS} s" in pages.section(PAGE, "Probes")


def test_the_table_of_what_lies_sealed_names_every_table_with_something_sealed() -> None:
    told = {cells[0].strip("`") for cells in pages.rows(pages.section(PAGE, "Encryption at rest"))}
    assert told == {str(model.__tablename__) for model in SealedTable.__subclasses__()}
