"""What requests and workers leave in the audit trail: one entry for each, in the chain of whom it concerns."""

import json
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from typing import Any

import httpx2
import pytest
from httpx2 import ASGITransport
from inflection import camelize
from sqlalchemy import event
from sqlalchemy.exc import OperationalError
from sqlmodel import select

from case_orders.app import create_app
from case_orders.audit.trail import REFUSALS_PER_SECOND
from case_orders.auth import SCOPES, new_key, store_key
from case_orders.db import Database, new_id, now
from case_orders.documents import DocumentStore
from case_orders.edge import contract
from case_orders.edge.parameters import snake_case
from case_orders.links import Links
from case_orders.pharmacies.signing import sign_report
from case_orders.settings import Settings
from models import ApiKey, AuditEntry, Case, Document, Order, PrescriptionItem, StatusChange
from tests.handlers.steps import ask, objects, placed
from tests.support.contract_client import ContractClient
from tests.support.orders import placement
from tests.support.trail import entries
from tests.support.world import PATIENT, REPORT_SECRET, Tenant

OPERATIONS = contract.operations()
WITH_KEY = sorted(operation.id for operation in OPERATIONS.values() if operation.needs_key)
AUDITED = sorted(name for name in WITH_KEY if OPERATIONS[name].is_audited)
WITH_ID = sorted(name for name in AUDITED if "{" in OPERATIONS[name].path)
ADDRESS = "203.0.113.7"


@pytest.fixture
async def client(settings: Settings, database: Database, us: Tenant) -> AsyncIterator[ContractClient]:
    """A client at an address of its own, of an API that has refused nobody yet."""
    transport = ASGITransport(create_app(settings, database), client=(ADDRESS, 4000))
    async with ContractClient(transport=transport, base_url="http://test/api/v1", headers=us.headers) as client:
        yield client


async def stored_objects(
    client: ContractClient, database: Database, settings: Settings, tenant: Tenant
) -> dict[str, str]:
    """One of everything; the document has its bytes."""
    ours = await objects(client, database, tenant)
    with database.snapshot() as session:
        key = session.get_one(Document, ours["documentId"]).storage_key
    await DocumentStore.open(settings.document_store).put(key, b"%")
    return ours


def key_of(database: Database, tenant: Tenant) -> str:
    with database.snapshot() as session:
        return session.exec(select(ApiKey.id).where(ApiKey.organization_id == tenant.organization_id)).one()


# ---- what is told -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("operation_id", WITH_KEY)
async def test_every_write_and_every_read_of_health_data_leaves_one_entry_and_nothing_else_does(
    client: ContractClient, us: Tenant, database: Database, settings: Settings, operation_id: str
) -> None:
    ours = await stored_objects(client, database, settings, us)
    before = entries(database, us.organization_id)
    answer = await ask(client, operation_id, ours)
    assert answer.is_success, answer.text
    told = entries(database, us.organization_id)[len(before) :]
    assert len(told) == OPERATIONS[operation_id].is_audited
    for entry in told:
        require_entry(entry, operation_id, str(answer.status_code), answer, f"key:{key_of(database, us)}")
        named = {snake_case(name): ours[name] for name in ours if f"{{{name}}}" in OPERATIONS[operation_id].path}
        assert named.items() <= entry.records.items()


def require_entry(entry: AuditEntry, action: str, outcome: str, answer: httpx2.Response, actor: str) -> None:
    assert (entry.action, entry.outcome, entry.actor) == (action, outcome, actor)
    assert (entry.client, entry.request_id) == (ADDRESS, answer.headers["x-request-id"])
    assert now() - entry.at < timedelta(minutes=1)


async def test_an_entry_names_what_was_made_and_what_a_list_showed(
    client: ContractClient, us: Tenant, database: Database
) -> None:
    made = (await client.post("/cases", json={"patient": PATIENT})).json()["data"]["case"]["id"]
    order_id = await placed(client, us.case_id)
    listed = (await client.get("/cases")).json()["data"]["cases"]
    assert [entry.records for entry in entries(database, us.organization_id)] == [
        {"case_id": made},
        {"case_id": us.case_id, "order_id": order_id},
        {"case_ids": [case["id"] for case in listed]},
    ]


def test_the_reads_that_are_told_are_those_that_show_what_lies_sealed() -> None:
    sealed = {
        camelize(name, uppercase_first_letter=False)
        for model in (Case, Order, PrescriptionItem, StatusChange, Document)
        for name in model.sealed_fields
    }
    for operation in OPERATIONS.values():
        answers = [answer for status, answer in operation.spec["responses"].items() if status.startswith("2")]
        is_file = any("application/pdf" in answer.get("content", ()) for answer in answers)
        if operation.method == "get":
            assert operation.shows_health_data == (bool(properties(answers) & sealed) or is_file), operation.id


def properties(node: Any) -> set[str]:
    """The names of all properties of the schemas in a part of the contract."""
    if isinstance(node, list):
        return set().union(*map(properties, node))
    if not isinstance(node, dict):
        return set()
    named = node.get("properties", {})
    return set(named if isinstance(named, dict) else ()).union(*map(properties, node.values()))


async def test_a_validation_is_no_write(client: ContractClient, us: Tenant, database: Database) -> None:
    answer = await client.post(f"/cases/{us.case_id}", json=placement(), params={"validateOnly": "true"})
    assert answer.status_code == 200
    assert entries(database, us.organization_id) == []


async def test_an_answer_that_is_given_again_is_told_again(
    client: ContractClient, us: Tenant, database: Database
) -> None:
    for _ in range(2):
        await client.post(f"/cases/{us.case_id}", json=placement(), headers={"Idempotency-Key": "once"})
    first, second = entries(database, us.organization_id)
    assert first.records == second.records
    assert first.request_id != second.request_id


async def test_health_data_is_not_shown_when_that_cannot_be_told(
    client: ContractClient, us: Tenant, database: Database
) -> None:
    def fail(_connection: object, _cursor: object, statement: str, *_more: object) -> None:
        if "audit_entries" in statement:
            raise OperationalError(statement, None, Exception("the disk is full"))

    event.listen(database.engine, "before_cursor_execute", fail)
    try:
        answer = await client.get(f"/cases/{us.case_id}")
        refused = await client.post("/cases", json={"patient": PATIENT})
    finally:
        event.remove(database.engine, "before_cursor_execute", fail)
    assert (answer.status_code, refused.status_code) == (503, 503)
    assert PATIENT["lastName"] not in answer.text
    assert len((await client.get("/cases")).json()["data"]["cases"]) == 2


# ---- refusals ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("operation_id", WITH_ID)
async def test_what_a_handler_refuses_is_told_in_the_chain_of_who_asked(
    client: ContractClient, us: Tenant, them: Tenant, database: Database, operation_id: str
) -> None:
    theirs = await objects(client, database, them)
    before = len(entries(database, them.organization_id))
    answer = await ask(client, operation_id, theirs)
    (entry,) = entries(database, us.organization_id)
    outcome = f"{answer.status_code} {answer.json()['code']}"
    require_entry(entry, operation_id, outcome, answer, f"key:{key_of(database, us)}")
    assert len(entries(database, them.organization_id)) == before


async def test_a_refused_write_leaves_the_refusal_and_nothing_else(
    client: ContractClient, us: Tenant, database: Database
) -> None:
    answer = await client.post(f"/cases/{us.case_id}", json=placement("unknown-drug"))
    assert answer.status_code == 400
    (entry,) = entries(database, us.organization_id)
    assert (entry.outcome, entry.records) == ("400 invalid_request", {"case_id": us.case_id})


async def test_a_key_without_the_scope_is_told_in_its_organizations_chain(
    client: ContractClient, us: Tenant, database: Database
) -> None:
    key = new_key()
    with database.transaction() as session:
        key_id = store_key(session, us.organization_id, "narrow", key, SCOPES - {"cases:read"}).id
    answer = await client.get("/cases", headers={"cv-api-key": key})
    (entry,) = entries(database, us.organization_id)
    require_entry(entry, "listCases", "403 insufficient_scope", answer, f"key:{key_id}")


async def test_a_key_that_asks_too_often_is_told_in_its_organizations_chain(
    settings: Settings, database: Database, us: Tenant
) -> None:
    application = create_app(settings.model_copy(update={"rate_per_key": "1/7 days"}), database)
    transport = ASGITransport(application, client=(ADDRESS, 4000))
    async with ContractClient(transport=transport, base_url="http://test/api/v1", headers=us.headers) as client:
        await client.get("/pharmacies")
        answer = await client.get("/cases")
        (entry,) = entries(database, us.organization_id)
        require_entry(entry, "listCases", "429 rate_limited", answer, f"key:{key_of(database, us)}")
        flood = [await client.get("/cases") for _ in range(3 * REFUSALS_PER_SECOND)]
    assert {answer.status_code for answer in flood} == {429}
    assert 1 < len(entries(database, us.organization_id)) < len(flood)


async def test_an_address_that_sent_too_many_bad_keys_is_told_in_the_chain_of_nobody(
    settings: Settings, database: Database
) -> None:
    application = create_app(settings.model_copy(update={"rate_failed_keys": "1/7 days"}), database)
    transport, key = ASGITransport(application, client=(ADDRESS, 4000)), new_key()
    async with ContractClient(transport=transport, base_url="http://test/api/v1") as client:
        for outcome in ("401 invalid_api_key", "429 too_many_failed_keys"):
            answer = await client.get("/cases", headers={"cv-api-key": key})
            entry = of(answer, entries(database))
            require_entry(entry, "listCases", outcome, answer, "nobody")
            assert entry.records == {"key": key[:18]}


async def test_what_is_not_as_the_contract_says_is_refused_unseen_and_leaves_no_entry(
    client: ContractClient, us: Tenant, database: Database
) -> None:
    answers = [
        await client.get("/orders/no-uuid"),
        await client.post("/cases", content=b"{"),
        await client.post("/cases", json={"patient": {}}),
    ]
    assert [answer.status_code for answer in answers] == [400, 415, 400]
    assert entries(database, us.organization_id) == []


async def test_a_key_that_was_revoked_while_in_use_is_told_in_its_organizations_chain(
    client: ContractClient, us: Tenant, database: Database
) -> None:
    assert (await client.get("/orders")).status_code == 200
    with database.transaction() as session:
        key = session.exec(select(ApiKey).where(ApiKey.organization_id == us.organization_id)).one()
        key.revoked_at = now()
    answer = await client.get("/orders")
    (entry,) = entries(database, us.organization_id)
    require_entry(entry, "listOrders", "401 invalid_api_key", answer, f"key:{key.id}")
    later = await client.get("/orders")
    assert of(later, entries(database)).records == {"key": us.key[:18]}, "it is remembered no longer"


def of(answer: httpx2.Response, told: Sequence[AuditEntry]) -> AuditEntry:
    (entry,) = [entry for entry in told if entry.request_id == answer.headers["x-request-id"]]
    return entry


async def test_a_refused_key_is_told_in_the_chain_of_nobody_by_its_public_part(
    client: ContractClient, database: Database
) -> None:
    live, test = new_key(), new_key(test=True)
    mistyped = live[:-1] + ("a" if live[-1] != "a" else "b")
    for key, records in (
        (live, {"key": live[:18]}),
        (test, {"key": test[:18]}),
        (mistyped, {}),
        ("Jane Doe", {}),
        ("", {}),
    ):
        answer = await client.get("/cases", headers={"cv-api-key": key})
        entry = of(answer, entries(database))
        code = "missing_api_key" if not key else "invalid_api_key"
        require_entry(entry, "listCases", f"401 {code}", answer, "nobody")
        assert entry.records == records


async def test_of_a_flood_of_refused_keys_a_few_are_told_and_how_many_were_not(
    client: ContractClient, database: Database
) -> None:
    asked = [(await client.get("/cases", headers={"cv-api-key": "x"})) for _ in range(5 * REFUSALS_PER_SECOND)]
    while asked[-1].headers["x-request-id"] not in (told := {each.request_id: each for each in entries(database)}):
        asked.append(await client.get("/cases", headers={"cv-api-key": "x"}))
    assert {answer.status_code for answer in asked} == {401}
    ours = [told[answer.headers["x-request-id"]] for answer in asked if answer.headers["x-request-id"] in told]
    assert REFUSALS_PER_SECOND < len(ours) < len(asked)
    assert sum(entry.records.get("left_out", 0) for entry in ours) == len(asked) - len(ours)


# ---- who proves himself without a key ---------------------------------------------------------------------------


async def report(client: ContractClient, us: Tenant, order_id: str, secret: str = REPORT_SECRET) -> httpx2.Response:
    body = json.dumps({"orderId": order_id, "occurredAt": "2024-01-15T10:30:00Z", "status": "SHIPPED"}).encode()
    headers = sign_report(secret, body, message_id=new_id()) | {"content-type": "application/json", "cv-api-key": ""}
    return await client.post(f"/pharmacy-connections/{us.pharmacy_id}/events", content=body, headers=headers)


async def test_a_pharmacys_report_is_told_in_the_chain_of_its_organization(
    client: ContractClient, us: Tenant, database: Database
) -> None:
    order_id = await placed(client, us.case_id)
    for asked, outcome in ((order_id, "202"), (new_id(), "404 not_found")):
        answer = await report(client, us, asked)
        entry = entries(database, us.organization_id)[-1]
        require_entry(entry, "receivePharmacyEvent", outcome, answer, f"pharmacy:{us.pharmacy_id}")
        assert entry.records == {"connection_id": us.pharmacy_id}
    assert len(entries(database, us.organization_id)) == 3


async def test_a_report_with_a_wrong_signature_is_told_in_the_chain_of_nobody(
    client: ContractClient, us: Tenant, database: Database
) -> None:
    answer = await report(client, us, new_id(), "whsec_" + "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    require_entry(of(answer, entries(database)), "receivePharmacyEvent", "401 invalid_signature", answer, "nobody")
    assert entries(database, us.organization_id) == []


async def test_a_download_by_link_is_told_in_the_chain_of_the_documents_organization(
    client: ContractClient, us: Tenant, database: Database, settings: Settings
) -> None:
    document_id = (await stored_objects(client, database, settings, us))["documentId"]
    del client.headers["cv-api-key"]
    link = Links.from_settings(settings).url(document_id, now()).partition("/api/v1")[2]
    answer = await client.get(link)
    entry = entries(database, us.organization_id)[-1]
    require_entry(entry, "downloadDocumentByLink", "200", answer, "link")
    assert entry.records == {"document_id": document_id}
    forged = await client.get(link[:-1] + ("0" if link[-1] != "0" else "1"))
    require_entry(of(forged, entries(database)), "downloadDocumentByLink", "403 invalid_link", forged, "nobody")
