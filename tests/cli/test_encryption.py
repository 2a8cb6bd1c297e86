"""`case-orders keys encryption` on a key file, and on keys that are set."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest
from sqlmodel import select

from case_orders import audit, keyring
from case_orders.db import Database, now
from case_orders.documents import DocumentStore
from models import Document, Order
from tests.cli.conftest import Json, Run, Transaction
from tests.support import keys


@pytest.fixture
def key_file(empty_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the key file of an embedded database will lie; nothing is set."""
    monkeypatch.delenv(keys.VARIABLE)
    return empty_dir / "encryption-keys"


def test_the_command_that_makes_the_key_file_says_loudly_to_back_it_up(run: Run, key_file: Path) -> None:
    said = run("migrate").stderr
    assert str(key_file) in said
    assert "Back it up now" in said
    assert key_file.read_text().partition(":")[2].strip() not in said
    assert "Back it up" not in run("migrate").stderr


def test_a_key_file_that_is_lost_is_not_silently_made_anew(run: Run, key_file: Path) -> None:
    run("migrate")
    key_file.unlink()
    assert "put the file back from the backup" in run("organizations", "list", code=1).stderr
    assert not key_file.exists()


def test_no_key_is_shown_to_be_set_in_the_place_of_a_lost_key_file(run: Run, key_file: Path) -> None:
    run("migrate")
    key_file.unlink()
    refused = run("keys", "encryption", "add", code=1)
    assert "put the file back from the backup" in refused.stderr
    assert refused.stdout == ""


def test_on_a_database_server_no_command_runs_without_keys(
    run: Run, key_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CASE_ORDERS_DATABASE_URL", "postgresql://user:secret@127.0.0.1:1/name")
    for stderr in (run("migrate", code=1).stderr, _refusal("serve", "--port", "0")):
        assert keys.VARIABLE in stderr
        assert "secret" not in stderr
    assert not key_file.exists()


def test_keys_that_are_not_keys_are_refused_in_a_sentence(
    run: Run, key_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("migrate")
    monkeypatch.setenv(keys.VARIABLE, "2026a:c2VjcmV0")
    sentence = "An encryption key must be an id, a colon and 32 bytes in base64.\n"
    assert run("migrate", code=1).stderr == _refusal("worker") == sentence


def _refusal(*arguments: str) -> str:
    """What a command says that cannot start; in a process of its own, since it sets up logging."""
    command = [sys.executable, "-m", "case_orders", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 1
    return done.stderr


@pytest.mark.parametrize("command", [("worker",), ("serve", "--port", "0", "--no-worker")])
def test_no_process_starts_under_a_key_that_is_not_the_databases(
    run: Run, data_dir: Path, organization: str, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    monkeypatch.setenv(keys.VARIABLE, keyring.new_entry())
    assert "put the right keys back" in _refusal(*command)


def test_a_key_that_was_rotated_away_is_not_asked_for(
    run: Run, data_dir: Path, organization: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    new = keyring.new_entry()
    database = Database(f"sqlite:///{data_dir}/case-orders.db")
    for ring in ((keys.RING,), (new, keys.RING)):
        monkeypatch.setenv(keys.VARIABLE, ",".join(ring))
        run("keys", "encryption", "rotate")
    keys.use(new)
    with database.snapshot() as session:
        audit.require_known_key(session)
    database.dispose()


def test_a_key_is_added_rotated_to_and_the_old_one_removed(run: Run, json: Json, key_file: Path) -> None:
    run("migrate")
    run("organizations", "create", "Clinic")
    run("cases", "create", "Clinic", "--first-name", "Jane", "--last-name", "Doe")
    (old,) = json("keys", "encryption", "list")
    assert (old["seals"], old["rows"], old["documents"]) == (True, 1, 0)
    assert "rotate" in run("keys", "encryption", "add").stderr
    assert [(key["seals"], key["rows"]) for key in json("keys", "encryption", "list")] == [(True, 0), (False, 1)]
    assert json("keys", "encryption", "rotate") == {"resealed": 1, "broken": 0, "left": 0}
    assert [(key["seals"], key["rows"]) for key in json("keys", "encryption", "list")] == [(True, 1), (False, 0)]
    key_file.write_text(key_file.read_text().splitlines()[0])
    listed = [(key["inRing"], key["rows"], key["auditEntries"]) for key in json("keys", "encryption", "list")]
    assert listed == [(True, 1, 2), (False, 0, 2)], "entries are not sealed anew: they would prove nothing"
    assert json("keys", "encryption", "rotate") == {"resealed": 0, "broken": 0, "left": 0}


def test_documents_are_counted_and_rotated_with_the_rows(
    run: Run, json: Json, order_id: str, data_dir: Path, transaction: Transaction, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = DocumentStore.open(str(data_dir / "documents"))
    with transaction() as session:
        order = session.exec(select(Order)).one()
        document = Document(
            organization_id=order.organization_id,
            order_id=order_id,
            source_id="a",
            source_url="https://a.example",
            file_name="a.pdf",
            stored_at=now(),
        )
        session.add(document)
    asyncio.run(store.put(document.storage_key, b"%PDF-"))
    new = keyring.new_entry()
    monkeypatch.setenv(keys.VARIABLE, f"{new},{keys.RING}")
    current, old = json("keys", "encryption", "list")
    assert (current["documents"], current["rows"], old["documents"]) == (0, 0, 1)
    assert json("keys", "encryption", "rotate")["resealed"] == old["rows"] + 1
    monkeypatch.setenv(keys.VARIABLE, new)
    (only,) = json("keys", "encryption", "list")
    assert (only["rows"], only["documents"]) == (old["rows"], 1)
    assert "Lisinopril" not in run("orders", "show", order_id).stdout
    run("orders", "show", order_id, "--full")


def test_what_does_not_open_is_told_and_the_rest_is_sealed_anew(
    run: Run, json: Json, order_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(keys.VARIABLE, keyring.new_entry())
    listed = run("keys", "encryption", "list")
    assert "under no key of the ring" in listed.stderr
    result = run("keys", "encryption", "rotate", "--json", code=1)
    assert "not in the ring" in result.stderr
    assert '"resealed":0' in result.stdout
    assert "does not open" in run("orders", "show", order_id, "--full", code=1).stderr


def test_without_a_file_of_ours_a_key_is_shown_to_be_set(run: Run, empty_dir: Path) -> None:
    result = run("keys", "encryption", "add")
    assert keyring.Keyring.parse(result.stdout).ids
    assert keys.VARIABLE in result.stderr
    assert not empty_dir.exists()


def test_a_document_store_that_is_out_of_reach_is_told_in_a_sentence(
    run: Run, order_id: str, data_dir: Path, database_with_document: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CASE_ORDERS_DOCUMENT_STORE", f"file://{data_dir}/case-orders.db/documents")
    assert "document store is out of reach" in run("keys", "encryption", "rotate", code=4).stderr
    monkeypatch.setenv("CASE_ORDERS_DOCUMENT_STORE", "ftp://nowhere")
    assert "CASE_ORDERS_DOCUMENT_STORE is not valid" in run("keys", "encryption", "rotate", code=1).stderr


@pytest.fixture
def database_with_document(data_dir: Path, order_id: str) -> None:
    database = Database(f"sqlite:///{data_dir}/case-orders.db")
    with database.transaction() as session:
        order = session.exec(select(Order)).one()
        names = {"source_id": "a", "source_url": "https://a.example", "file_name": "a.pdf"}
        session.add(Document(organization_id=order.organization_id, order_id=order_id, **names))
    database.dispose()
