"""Who may do what: keys, scopes, and what one organization sees of another."""

import re
from datetime import timedelta
from typing import Any

import httpx2
import pytest
from sqlmodel import select

from case_orders.auth import SCOPES, digest, is_mistyped, new_key, public_part, store_key
from case_orders.db import Database, new_id, now
from case_orders.edge import contract
from models import ApiKey, Order, Organization, Webhook
from tests.handlers.steps import ask, objects, placed
from tests.support.contract_client import ContractClient
from tests.support.orders import documented
from tests.support.world import Tenant

OPERATIONS = contract.operations()
WITH_KEY = sorted(operation.id for operation in OPERATIONS.values() if operation.needs_key)
WITH_ID = sorted(name for name in WITH_KEY if "{" in OPERATIONS[name].path)


def a_key(database: Database, tenant: Tenant, **more: Any) -> str:
    key = new_key()
    with database.transaction() as session:
        store_key(session, tenant.organization_id, "another", key, **more)
    return key


def mistyped(key: str) -> str:
    return key[:20] + ("a" if key[20] != "a" else "b") + key[21:]


@pytest.mark.parametrize("operation_id", WITH_KEY)
async def test_every_operation_wants_a_key_unless_it_says_otherwise(api: ContractClient, operation_id: str) -> None:
    del api.headers["cv-api-key"]
    answer = await ask(api, operation_id)
    assert (answer.status_code, answer.json()["code"]) == (401, "missing_api_key")
    assert answer.json()["error"] == "API key is missing: send it in the cv-api-key header"
    assert answer.headers["www-authenticate"] == 'ApiKey header="cv-api-key"'


async def test_an_empty_key_is_a_missing_one(api: ContractClient) -> None:
    answer = await api.get("/cases", headers={"cv-api-key": ""})
    assert (answer.status_code, answer.json()["code"]) == (401, "missing_api_key")


async def test_a_key_of_no_use_is_answered_alike_whatever_is_wrong_with_it(
    api: ContractClient, us: Tenant, database: Database
) -> None:
    revoked = new_key()
    with database.transaction() as session:
        store_key(session, us.organization_id, "revoked", revoked).revoked_at = now()
    expired = a_key(database, us, expires_at=now() - timedelta(seconds=1))
    keys = [
        new_key(),
        expired,
        revoked,
        mistyped(us.key),
        mistyped(new_key(test=True)),
        us.key.lower(),
        us.key + " x",
        "x" * 10_000,
        "Ü".encode(),
        "cv_live_",
    ]
    answers = [await api.get("/cases", headers={"cv-api-key": key}) for key in keys]
    two = httpx2.Headers([("cv-api-key", us.key), ("cv-api-key", us.key)])
    answers.append(await api.get("/cases", headers=two))
    assert {answer.status_code for answer in answers} == {401}
    assert len({str(answer.json() | {"requestId": ""}) for answer in answers}) == 1
    assert {answer.headers["www-authenticate"] for answer in answers} == {'ApiKey header="cv-api-key"'}


@pytest.mark.parametrize("operation_id", WITH_KEY)
async def test_a_key_that_is_revoked_does_nothing_more_wherever_it_was_seen_before(
    api: ContractClient, us: Tenant, database: Database, operation_id: str
) -> None:
    assert (await api.get("/cases")).status_code == 200
    with database.transaction() as session:
        session.exec(select(ApiKey).where(ApiKey.organization_id == us.organization_id)).one().revoked_at = now()
    answer = await ask(api, operation_id)
    assert (answer.status_code, answer.json()["code"]) == (401, "invalid_api_key")
    assert answer.headers["www-authenticate"] == 'ApiKey header="cv-api-key"'


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        ({"method": "POST", "url": "/cases", "json": {}}, 400),
        ({"method": "POST", "url": "/cases", "content": b"{"}, 415),
        ({"method": "GET", "url": "/orders/no-uuid"}, 400),
        ({"method": "GET", "url": "/webhooks"}, 403),
    ],
    ids=["invalid", "not JSON", "bad id", "without the scope"],
)
async def test_a_key_that_is_revoked_is_told_so_at_once_whatever_else_is_wrong_with_its_request(
    api: ContractClient, us: Tenant, database: Database, request_: dict[str, Any], status: int
) -> None:
    key = a_key(database, us, scopes=SCOPES - {"webhooks:manage"})
    headers = {"cv-api-key": key}
    assert (await api.request(**request_, headers=headers)).status_code == status
    with database.transaction() as session:
        session.exec(select(ApiKey).where(ApiKey.sha256 == digest(key))).one().revoked_at = now()
    answer = await api.request(**request_, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (401, "invalid_api_key")
    assert answer.headers["www-authenticate"] == 'ApiKey header="cv-api-key"'


async def test_a_key_works_until_it_expires(api: ContractClient, us: Tenant, database: Database) -> None:
    key = a_key(database, us, expires_at=now() + timedelta(minutes=1))
    assert (await api.get("/cases", headers={"cv-api-key": key})).status_code == 200


async def test_two_keys_of_an_organization_work_at_once(api: ContractClient, us: Tenant, database: Database) -> None:
    for key in (us.key, a_key(database, us)):
        assert (await api.get(f"/cases/{us.case_id}", headers={"cv-api-key": key})).status_code == 200


async def test_a_key_of_the_organizations_own_making_works(api: ContractClient, us: Tenant, database: Database) -> None:
    key = f"a key with spaces {new_id()}"
    with database.transaction() as session:
        store_key(session, us.organization_id, "own", key)
    assert (await api.get("/cases", headers={"cv-api-key": key})).status_code == 200


async def test_the_key_is_judged_before_the_request(api: ContractClient, us: Tenant) -> None:
    answer = await api.post(f"/cases/{us.case_id}", content=b"{", headers={"cv-api-key": new_key()})
    assert answer.status_code == 401


@pytest.mark.parametrize("operation_id", WITH_KEY)
async def test_every_operation_wants_its_scope(
    api: ContractClient, us: Tenant, database: Database, operation_id: str
) -> None:
    scope = OPERATIONS[operation_id].scope
    key = a_key(database, us, scopes=SCOPES - {scope})
    answer = await ask(api, operation_id, **{"cv-api-key": key})
    assert (answer.status_code, answer.json()["code"]) == (403, "insufficient_scope")
    assert answer.json()["error"] == f"API key lacks the scope {scope}"


@pytest.mark.parametrize("operation_id", WITH_KEY)
async def test_a_scope_is_enough_for_its_operations(
    api: ContractClient, us: Tenant, database: Database, operation_id: str
) -> None:
    key = a_key(database, us, scopes={OPERATIONS[operation_id].scope})
    answer = await ask(api, operation_id, **{"cv-api-key": key})
    assert answer.json().get("code") != "insufficient_scope"


@pytest.mark.parametrize(("test", "prefix"), [(False, "cv_live_"), (True, "cv_test_")])
def test_a_key_tells_that_it_was_mistyped(test: bool, prefix: str) -> None:
    key = new_key(test=test)
    assert re.fullmatch(prefix + r"[0-9A-Za-z]{48}", key)
    assert public_part(key) == key[:18]
    assert public_part(mistyped(key)) is public_part("your-api-key-here") is None
    assert not is_mistyped(key)
    assert is_mistyped(mistyped(key))
    assert not is_mistyped("your-api-key-here")


# ---- tests and what is live ------------------------------------------------------------------------------------------


async def test_a_test_key_and_a_live_key_see_nothing_of_each_others_orders(
    api: ContractClient, us: Tenant, them: Tenant, database: Database
) -> None:
    with database.transaction() as session:
        session.get_one(Organization, them.organization_id).is_test = True
        store_key(session, them.organization_id, "for tests", test_key := new_key(test=True))
    live, testing = {"cv-api-key": us.key}, {"cv-api-key": test_key}
    orders = {}
    for key, case_id in ((us.key, us.case_id), (test_key, them.case_id)):
        answer = await api.post(f"/cases/{case_id}", json=documented(), headers={"cv-api-key": key})
        orders[key] = answer.json()["data"]["order"]["id"]
    for own, other in ((live, orders[test_key]), (testing, orders[us.key])):
        listed = (await api.get("/orders", headers=own)).json()["data"]["orders"]
        assert [order["id"] for order in listed] == [orders[own["cv-api-key"]]]
        assert (await api.get(f"/orders/{other}", headers=own)).status_code == 404
    assert (await api.post(f"/cases/{us.case_id}", json=documented(), headers=testing)).status_code == 403


# ---- other organizations ----------------------------------------------------------------------------------------


@pytest.fixture
async def theirs(api: ContractClient, them: Tenant, database: Database) -> dict[str, str]:
    """Another organization's objects, by the names that paths have for their ids."""
    return await objects(api, database, them)


@pytest.mark.parametrize("operation_id", WITH_ID)
async def test_another_organizations_objects_are_answered_like_unknown_ones(
    api: ContractClient, them: Tenant, theirs: dict[str, str], operation_id: str
) -> None:
    refused, unknown = await ask(api, operation_id, theirs), await ask(api, operation_id)
    assert refused.status_code == unknown.status_code in (403, 404)
    assert refused.json() | {"requestId": ""} == unknown.json() | {"requestId": ""}
    assert (await ask(api, operation_id, theirs, **them.headers)).status_code != refused.status_code


async def test_another_organizations_objects_are_in_no_list(
    api: ContractClient, us: Tenant, theirs: dict[str, str]
) -> None:
    await placed(api, us.case_id)
    for operation in OPERATIONS.values():
        if operation.needs_key and operation.method == "get" and "{" not in operation.path:
            answer = await ask(api, operation.id)
            assert answer.status_code == 200
            assert not [name for name, value in theirs.items() if value in answer.text]
    assert (await api.get("/orders", params={"caseId": theirs["caseId"]})).json()["data"] == {"orders": []}


async def test_nothing_of_ours_reaches_another_organizations_objects(
    api: ContractClient, us: Tenant, theirs: dict[str, str], database: Database
) -> None:
    for operation_id in WITH_ID:
        await ask(api, operation_id, theirs)
    with database.transaction() as session:
        assert session.get_one(Order, theirs["orderId"]).status == "RECEIVED"
        assert session.get_one(Webhook, theirs["webhookId"]).active
