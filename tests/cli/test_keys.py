from datetime import UTC, datetime, timedelta

import pytest
from sqlmodel import select

from case_orders import auth
from case_orders.errors import Unauthorized
from models import ApiKey
from tests.cli.conftest import Json, Run, Transaction


def test_a_key_is_shown_once_and_works(json: Json, run: Run, organization: str, transaction: Transaction) -> None:
    created = run("keys", "create", "Clinic", "--name", "app", "--json")
    assert "this once" in created.stderr
    (listed,) = json("keys", "list", organization)
    with transaction() as session:
        row = session.exec(select(ApiKey)).one()
    key = next(text for text in created.stdout.split('"') if text.startswith("cv_live_"))
    with transaction() as session:
        assert auth.authenticate(session, key).organization_id == organization
    assert key not in str(listed)
    assert row.sha256 not in created.stdout + str(listed)


def test_a_key_may_do_everything_unless_it_is_given_scopes(json: Json, organization: str) -> None:
    assert json("keys", "create", organization, "--name", "app")["scopes"] == sorted(auth.SCOPES)
    narrow = json("keys", "create", organization, "--name", "app", "--scope", "orders:read", "--scope", "cases:read")
    assert narrow["scopes"] == ["cases:read", "orders:read"]


def test_keys_of_an_organization_for_tests_are_test_keys(json: Json, organization: str) -> None:
    tests = json("organizations", "create", "Clinic (test)", "--test")
    assert (tests["test"], json("organizations", "list")[0]["test"]) == (True, False)
    for org, prefix in ((organization, "cv_live_"), (tests["id"], "cv_test_")):
        created = json("keys", "create", org, "--name", "app")
        assert created["key"].startswith(prefix)
        assert json("keys", "rotate", created["id"])["key"].startswith(prefix)


def test_a_list_tells_when_a_key_was_last_used(json: Json, organization: str, transaction: Transaction) -> None:
    created = json("keys", "create", organization, "--name", "app")
    assert created["lastUsedAt"] is None
    with transaction() as session:
        session.get_one(ApiKey, created["id"]).last_used_at = datetime(2026, 1, 2, tzinfo=UTC)
    assert json("keys", "list", organization)[0]["lastUsedAt"] == "2026-01-02T00:00:00Z"


def test_an_unknown_scope_is_a_wrong_command_line(run: Run, organization: str) -> None:
    run("keys", "create", organization, "--name", "app", "--scope", "everything", code=2)


def test_a_key_may_end_by_itself(json: Json, organization: str) -> None:
    created = json("keys", "create", organization, "--name", "app", "--expires-in-days", "30")
    left = datetime.fromisoformat(created["expiresAt"]) - datetime.now(UTC)
    assert timedelta(days=29) < left <= timedelta(days=30)


def test_after_a_rotation_both_keys_work_until_the_overlap_ends(
    json: Json, organization: str, transaction: Transaction
) -> None:
    old = json("keys", "create", organization, "--name", "app", "--scope", "orders:read")
    new = json("keys", "rotate", old["id"], "--overlap-hours", "2")
    assert (new["name"], new["scopes"], new["expiresAt"]) == ("app", ["orders:read"], None)
    with transaction() as session:
        assert auth.authenticate(session, new["key"]).scopes == auth.authenticate(session, old["key"]).scopes
        left = session.get_one(ApiKey, old["id"]).expires_at
    assert left is not None
    assert timedelta(hours=1) < left - datetime.now(UTC) <= timedelta(hours=2)


def test_a_rotation_never_lengthens_the_old_keys_life(json: Json, organization: str) -> None:
    old = json("keys", "create", organization, "--name", "app", "--expires-in-days", "1")
    new = json("keys", "rotate", old["id"], "--overlap-hours", "100")
    by_id = {key["id"]: key for key in json("keys", "list", organization)}
    assert by_id[old["id"]]["expiresAt"] == old["expiresAt"]
    assert new["expiresAt"] is not None


def test_a_revoked_key_is_refused_at_once_and_cannot_be_rotated(
    json: Json, run: Run, organization: str, transaction: Transaction
) -> None:
    created = json("keys", "create", organization, "--name", "app")
    run("keys", "revoke", created["id"])
    run("keys", "revoke", created["id"])
    with transaction() as session, pytest.raises(Unauthorized):
        auth.authenticate(session, created["key"])
    run("keys", "rotate", created["id"], code=1)


def test_a_key_or_organization_that_does_not_exist_is_not_found(run: Run, data_dir: object) -> None:
    run("keys", "revoke", "nothing", code=3)
    run("keys", "rotate", "nothing", code=3)
    run("keys", "create", "nobody", "--name", "app", code=3)
    run("keys", "list", "nobody", code=3)
