import ast
import json as jsons
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from sqlalchemy import text
from sqlmodel import select
from typer.core import TyperGroup
from typer.main import get_group

from case_orders.cli import app, database
from models import ApiKey, AuditEntry, Job, Organization, Webhook
from models.audit import NO_ORGANIZATION
from models.jobs import JobState
from tests.cli.conftest import Json, Run, Transaction
from tests.support import keys

CLI = Path(__file__).parents[2] / "case_orders" / "cli"


def told(transaction: Transaction, chain: str) -> list[AuditEntry]:
    with transaction() as session:
        return list(session.exec(select(AuditEntry).where(AuditEntry.chain == chain)))


def actions(transaction: Transaction, chain: str) -> list[str]:
    return [entry.action for entry in told(transaction, chain)]


# ---- what commands leave ----------------------------------------------------------------------------------------


def test_what_the_operator_changes_is_told_in_the_chain_of_the_organization(
    run: Run, json: Json, organization: str, transaction: Transaction, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SUDO_USER", "alice")
    drugs, cases = tmp_path / "drugs.csv", tmp_path / "cases.csv"
    drugs.write_text("code,name,schedule\ndrug-1,Lisinopril,\n")
    cases.write_text("reference,firstName,lastName\nchart-1,Jane,Doe\n")
    key = json("keys", "create", "Clinic", "--name", "app")
    new = json("keys", "rotate", key["id"])
    run("keys", "revoke", key["id"])
    with transaction() as session:
        webhook = Webhook(organization_id=organization, url="https://hooks.example.com", events=[], secret="s")
        session.add(webhook)
    run("webhooks", "disable", webhook.id)
    run("pharmacies", "add", "Clinic", "one", "--name", "One", "--base-url", "https://pharmacy.example.com")
    run("pharmacies", "update", "Clinic", "one", "--name", "Two")
    run("pharmacies", "rotate", "Clinic", "one")
    run("drugs", "import", "Clinic", str(drugs))
    run("cases", "import", "Clinic", str(cases))
    case = json("cases", "create", "Clinic", "--first-name", "Jane", "--last-name", "Doe")
    created, *entries = told(transaction, organization)
    assert created.action == "organizations create"
    assert [entry.action for entry in entries] == [
        "keys create",
        "keys rotate",
        "keys revoke",
        "webhooks disable",
        "pharmacies add",
        "pharmacies update",
        "pharmacies rotate",
        "drugs import",
        "cases import",
        "cases create",
    ]
    assert {(entry.actor, entry.outcome) for entry in entries} == {("operator:alice", "done")}
    assert entries[1].records == {"key_id": new["id"], "old_key_id": key["id"]}
    assert entries[-1].records == {"case_id": case["id"]}
    text = str([entry.records for entry in entries])
    assert not [
        value for value in ("Jane", "Doe", "chart-1", "Clinic", "pharmacy.example", "hooks.example") if value in text
    ]


def test_replays_and_a_look_at_health_data_are_told(run: Run, order_id: str, transaction: Transaction) -> None:
    with transaction() as session:
        job = session.exec(select(Job)).one()
        job.state, owner, job_id = JobState.DEAD, job.organization_id, job.id
    run("orders", "show", order_id)
    assert actions(transaction, owner) == []
    run("orders", "show", order_id, "--full")
    run("jobs", "replay", job_id)
    with transaction() as session:
        session.get_one(Job, job_id).state = JobState.DEAD
    run("orders", "replay", order_id)
    assert actions(transaction, owner) == ["orders show", "jobs replay", "orders replay"]
    run("jobs", "replay", "--all-dead")
    assert actions(transaction, NO_ORGANIZATION) == ["jobs replay"]


def test_encryption_keys_are_told_in_the_chain_of_nobody(
    run: Run, organization: str, transaction: Transaction, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (data_dir / "encryption-keys").write_text(f"{keys.RING}\n")
    monkeypatch.delenv(keys.VARIABLE)
    run("keys", "encryption", "add")
    run("keys", "encryption", "rotate")
    assert actions(transaction, NO_ORGANIZATION) == ["keys encryption add", "keys encryption rotate"]
    run("audit", "verify")


def test_a_command_that_fails_leaves_nothing(run: Run, organization: str, transaction: Transaction) -> None:
    run("keys", "create", organization, "--name", " ", code=1)
    run("organizations", "create", "Clinic", code=1)
    assert actions(transaction, organization) == ["organizations create"]


def test_no_command_can_forget_to_tell(data_dir: Path) -> None:
    with pytest.raises(TypeError), database.transaction() as session:
        session.add(Organization(name="Unseen"))
    with database.snapshot() as session:
        assert session.exec(select(Organization)).all() == []


def commands(group: TyperGroup, *path: str) -> Iterator[str]:
    context = typer.Context(group)
    for name in group.list_commands(context):
        match group.get_command(context, name):
            case TyperGroup() as inner:
                yield from commands(inner, *path, name)
            case _:
                yield " ".join([*path, name])


def test_what_is_told_are_names_of_commands() -> None:
    calls = [
        node.args[1].value
        for module in CLI.glob("*.py")
        for node in ast.walk(ast.parse(module.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "tell"
        if isinstance(node.args[1], ast.Constant)
    ]
    assert len(calls) > 15
    assert set(calls) <= set(commands(get_group(app)))


# ---- the audit commands -----------------------------------------------------------------------------------------


def test_a_whole_trail_is_verified(json: Json, run: Run, organization: str) -> None:
    run("keys", "create", organization, "--name", "app")
    assert json("audit", "verify") == [{"chain": organization, "entries": 2, "fault": None}]
    assert json("audit", "verify", "--organization", "Clinic") == json("audit", "verify")
    assert json("audit", "verify", "--organization", "none") == []
    run("audit", "verify", "--organization", "nobody", code=3)


def test_a_broken_trail_ends_the_command_with_1(run: Run, organization: str, transaction: Transaction) -> None:
    with transaction() as session:
        session.connection().execute(text("UPDATE audit_entries SET actor = 'nobody'"))
    failed = run("audit", "verify", code=1)
    assert "entry 1 was changed" in failed.stdout
    assert "The audit trail is not whole." in failed.stderr


@pytest.mark.parametrize("command", ["heads", "export"])
def test_a_cut_end_is_found_by_heads_that_were_kept(
    run: Run, organization: str, transaction: Transaction, tmp_path: Path, command: str
) -> None:
    run("keys", "create", organization, "--name", "app")
    kept = tmp_path / "heads.jsonl"
    kept.write_text(run("audit", command).stdout)
    run("audit", "verify", "--head", str(kept))
    with transaction() as session:
        for change in (
            "DELETE FROM audit_entries WHERE position = 2",
            "UPDATE audit_heads SET position = 1, mac = (SELECT mac FROM audit_entries WHERE position = 1)",
        ):
            session.connection().execute(text(change))
    run("audit", "verify")
    assert "before the head" in run("audit", "verify", "--head", str(kept), code=1).stdout


def test_an_export_has_every_entry_and_the_ends(run: Run, organization: str, transaction: Transaction) -> None:
    key = jsons.loads(run("keys", "create", organization, "--name", "app", "--json").stdout)
    *entries, head = map(jsons.loads, run("audit", "export").stdout.splitlines())
    assert [line["entry"]["position"] for line in entries] == [1, 2]
    last = entries[-1]["entry"]
    assert (last["action"], last["records"], last["chain"]) == ("keys create", {"key_id": key["id"]}, organization)
    assert head == {"head": {"chain": organization, "position": 2, "mac": last["mac"]}}
    with transaction() as session:
        hashes = session.exec(select(ApiKey.sha256)).all()
    assert not [secret for secret in (key["key"], *hashes) if secret in str(entries)]


def test_a_file_that_holds_no_heads_is_refused(run: Run, organization: str, tmp_path: Path) -> None:
    for content in ("no JSON", '{"head": 1}', '{"head": {"chain": "a"}}', "1", '{"head": {}}'):
        (tmp_path / "heads").write_text(content)
        refused = run("audit", "verify", "--head", str(tmp_path / "heads"), code=1)
        assert "is not what case-orders audit heads wrote" in refused.stderr
