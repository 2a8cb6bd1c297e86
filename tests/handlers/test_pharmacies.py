"""What a connected pharmacy reports."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta
from typing import Any

import httpx2
import pytest
from httpx2 import ASGITransport
from sqlmodel import func, select

from case_orders.app import create_app
from case_orders.db import Database, new_id, now
from case_orders.pharmacies.signing import sign_report
from case_orders.settings import Settings
from case_orders.signing_secrets import new_secret
from handlers.pharmacies import MOST_REPORTS
from models import AuditEntry, Job, Pharmacy, PharmacyReport
from tests.handlers.steps import placed
from tests.support.contract_client import ContractClient
from tests.support.orders import documented
from tests.support.world import REPORT_SECRET, Tenant


def report(order_id: str, **more: Any) -> bytes:
    return json.dumps({"orderId": order_id, "occurredAt": "2024-01-15T10:30:00Z", "status": "SHIPPED"} | more).encode()


async def send(api: ContractClient, connection: str, body: bytes, **headers: str) -> httpx2.Response:
    """Post a signed report as a pharmacy would, without a key; `headers` replace those of the signature."""
    signed = sign_report(REPORT_SECRET, body) | {name.replace("_", "-"): value for name, value in headers.items()}
    signed |= {"content-type": "application/json", "cv-api-key": ""}
    return await api.post(f"/pharmacy-connections/{connection}/events", content=body, headers=signed)


def forged(body: bytes) -> dict[str, str]:
    return sign_report(new_secret(), body)


Limited = Callable[..., AbstractAsyncContextManager[ContractClient]]


@pytest.fixture
def limited(settings: Settings, database: Database) -> Limited:
    """A service with other rates, as seen from an address."""

    @asynccontextmanager
    async def client(address: str = "192.0.2.1", **rates: str) -> AsyncIterator[ContractClient]:
        application = create_app(settings.model_copy(update=rates), database)
        transport = ASGITransport(application, client=(address, 4711))
        async with ContractClient(transport=transport, base_url="http://test/api/v1") as api:
            yield api

    return client


def stored(database: Database, order_id: str) -> list[PharmacyReport]:
    with database.transaction() as session:
        return list(session.exec(select(PharmacyReport).where(PharmacyReport.order_id == order_id)))


async def test_a_report_is_stored_with_the_job_to_apply_it(api: ContractClient, us: Tenant, database: Database) -> None:
    order_id = await placed(api, us.case_id)
    body = report(order_id, trackingNumber="1Z")
    signed = sign_report(REPORT_SECRET, body, message_id="a-message")
    answer = await send(api, us.pharmacy_id, body, **signed)
    assert (answer.status_code, answer.json()["message"]) == (202, "Report accepted")
    (kept,) = stored(database, order_id)
    assert (kept.pharmacy_id, kept.message_id, kept.body) == (us.pharmacy_id, "a-message", json.loads(body))
    with database.transaction() as session:
        assert session.exec(select(Job.kind).where(Job.subject == kept.id)).all() == ["apply_report"]


async def test_a_message_that_comes_again_is_answered_alike_and_stored_once(
    api: ContractClient, us: Tenant, database: Database
) -> None:
    order_id = await placed(api, us.case_id)
    body = report(order_id)
    signed = sign_report(REPORT_SECRET, body, message_id="a-message")
    answers = await asyncio.gather(*(send(api, us.pharmacy_id, body, **signed) for _ in range(10)))
    assert {answer.text for answer in answers} == {answers[0].text}
    assert answers[0].status_code == 202
    assert len(stored(database, order_id)) == 1


async def test_a_message_id_counts_for_one_connection(
    api: ContractClient, us: Tenant, them: Tenant, database: Database
) -> None:
    ours, theirs = await placed(api, us.case_id), await place_theirs(api, them)
    for tenant, order_id in ((us, ours), (them, theirs)):
        body = report(order_id)
        answer = await send(api, tenant.pharmacy_id, body, **sign_report(REPORT_SECRET, body, message_id="a-message"))
        assert answer.status_code == 202
        assert len(stored(database, order_id)) == 1


async def place_theirs(api: ContractClient, them: Tenant) -> str:
    answer = await api.post(f"/cases/{them.case_id}", json=documented(), headers=them.headers)
    order_id: str = answer.json()["data"]["order"]["id"]
    return order_id


async def test_ids_are_taken_in_either_case(api: ContractClient, us: Tenant, database: Database) -> None:
    order_id = await placed(api, us.case_id)
    assert (await send(api, us.pharmacy_id.upper(), report(order_id.upper()))).status_code == 202
    assert len(stored(database, order_id)) == 1


async def test_whatever_is_wrong_with_a_signature_is_answered_alike(
    api: ContractClient, us: Tenant, database: Database
) -> None:
    order_id = await placed(api, us.case_id)
    body = report(order_id)
    right = sign_report(REPORT_SECRET, body)
    other_body = sign_report(REPORT_SECRET, body + b" ")
    wrong = [
        right | {"webhook-signature": "v1," + "A" * 43 + "="},
        right | {"webhook-signature": "A"},
        right | {"webhook-signature": "v1,="},
        right | {"webhook-signature": "v2" + right["webhook-signature"][2:]},
        right | {"webhook-id": "another"},
        right | {"webhook-timestamp": str(int(right["webhook-timestamp"]) + 1)},
        right | {"webhook-timestamp": "999999999999"},
        right | {"webhook-signature": other_body["webhook-signature"]},
        sign_report(new_secret(), body),
        sign_report(REPORT_SECRET, body, at=now() - timedelta(minutes=6)),
        sign_report(REPORT_SECRET, body, at=now() + timedelta(minutes=6)),
    ]
    answers = [await send(api, us.pharmacy_id, body, **headers) for headers in wrong]
    answers.append(await send(api, new_id(), body))
    assert {answer.status_code for answer in answers} == {401}
    assert len({json.dumps(answer.json() | {"requestId": ""}) for answer in answers}) == 1
    assert stored(database, order_id) == []


async def test_whoever_cannot_sign_does_not_reach_the_queue_of_writes(
    settings: Settings, api: ContractClient, us: Tenant
) -> None:
    body = report(await placed(api, us.case_id))
    database = Database(settings.database_url, most_waiting=0)
    transport = ASGITransport(create_app(settings, database))
    async with ContractClient(transport=transport, base_url="http://test/api/v1") as full:
        unsigned = await send(full, us.pharmacy_id, body, **sign_report(new_secret(), body))
        signed = await send(full, us.pharmacy_id, body)
    await database.close()
    assert [unsigned.status_code, signed.status_code] == [401, 503]


async def test_an_order_that_this_pharmacy_does_not_have_is_not_found(
    api: ContractClient, us: Tenant, them: Tenant, database: Database
) -> None:
    theirs = await place_theirs(api, them)
    with database.transaction() as session:
        other = session.exec(
            select(Pharmacy.id).where(Pharmacy.organization_id == us.organization_id, Pharmacy.code == "pharmacy-cs")
        ).one()
    ours = await placed(api, us.case_id)
    answers = [
        await send(api, us.pharmacy_id, report(new_id())),
        await send(api, us.pharmacy_id, report(theirs)),
        await send(api, other, report(ours)),
    ]
    assert [answer.status_code for answer in answers] == [404, 404, 404]
    assert len({answer.json()["error"] for answer in answers}) == 1
    assert stored(database, ours) == stored(database, theirs) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"status": "RECEIVED"},
        {"status": "CANCEL_REQUESTED"},
        {"occurredAt": "2024-01-15"},
        {"occurredAt": "0001-01-01T00:00:00+14:00"},
        {"orderId": "RX-1"},
        {"documents": []},
        {"documents": [{"id": "a", "url": "file:///etc/passwd"}]},
        {"cancellation": {}},
        {"price": 1},
    ],
    ids=str,
)
async def test_a_report_that_breaks_the_contract_is_refused(
    api: ContractClient, us: Tenant, changes: dict[str, Any]
) -> None:
    order_id = await placed(api, us.case_id)
    body = json.dumps(json.loads(report(order_id)) | changes).encode()
    assert (await send(api, us.pharmacy_id, body)).status_code == 400


async def test_a_report_says_something(api: ContractClient, us: Tenant) -> None:
    order_id = await placed(api, us.case_id)
    body = json.dumps({"orderId": order_id, "occurredAt": "2024-01-15T10:30:00Z"}).encode()
    assert (await send(api, us.pharmacy_id, body)).status_code == 400


@pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp", "webhook-signature"])
async def test_each_header_of_the_signature_is_required(api: ContractClient, us: Tenant, name: str) -> None:
    body = report(await placed(api, us.case_id))
    headers = sign_report(REPORT_SECRET, body) | {"content-type": "application/json"}
    del headers[name]
    answer = await api.post(f"/pharmacy-connections/{us.pharmacy_id}/events", content=body, headers=headers)
    assert (answer.status_code, answer.json()["error"]) == (400, f"{name} is required")


# ---- how many -------------------------------------------------------------------------------------------------------


async def test_a_connection_that_reports_too_often_is_put_off_and_loses_nothing(
    api: ContractClient, us: Tenant, database: Database, limited: Limited
) -> None:
    bodies = [report(await placed(api, us.case_id)) for _ in range(3)]
    async with limited(rate_per_pharmacy="2/7 days") as pharmacy:
        answers = [await send(pharmacy, us.pharmacy_id, body) for body in bodies]
    assert [answer.status_code for answer in answers] == [202, 202, 429]
    assert answers[-1].json()["code"] == "rate_limited"
    assert int(answers[-1].headers["retry-after"]) > 0
    assert [answer.headers["ratelimit"].split(";")[:2] for answer in answers] == [
        ['"pharmacy"', f"r={left}"] for left in (1, 0, 0)
    ]
    assert (await send(api, us.pharmacy_id, bodies[-1])).status_code == 202
    assert all(stored(database, json.loads(body)["orderId"]) for body in bodies)


async def test_a_connection_does_not_use_up_anothers_rate(
    api: ContractClient, us: Tenant, them: Tenant, limited: Limited
) -> None:
    ours, theirs = report(await placed(api, us.case_id)), report(await place_theirs(api, them))
    async with limited(rate_per_pharmacy="1/7 days") as pharmacies:
        assert [(await send(pharmacies, us.pharmacy_id, ours)).status_code for _ in range(2)] == [202, 429]
        assert (await send(pharmacies, them.pharmacy_id, theirs)).status_code == 202


async def test_whoever_cannot_sign_uses_up_nobodys_rate(api: ContractClient, us: Tenant, limited: Limited) -> None:
    body = report(await placed(api, us.case_id))
    async with limited(rate_per_pharmacy="1/7 days") as pharmacy:
        assert (await send(pharmacy, us.pharmacy_id, body, **forged(body))).status_code == 401
        assert (await send(pharmacy, us.pharmacy_id, body)).status_code == 202


async def test_refusals_for_reporting_too_often_do_not_fill_the_audit_trail(
    api: ContractClient, us: Tenant, database: Database, limited: Limited
) -> None:
    body = report(await placed(api, us.case_id))
    async with limited(rate_per_pharmacy="1/7 days") as pharmacy:
        await asyncio.gather(*(send(pharmacy, us.pharmacy_id, body) for _ in range(60)))
    told = select(func.count()).select_from(AuditEntry)
    told = told.where(AuditEntry.actor == f"pharmacy:{us.pharmacy_id}", AuditEntry.outcome == "429 rate_limited")
    with database.transaction() as session:
        assert 0 < session.exec(told).one() < 30


async def test_an_address_that_forges_reports_is_refused_before_they_are_looked_at(
    api: ContractClient, us: Tenant, limited: Limited
) -> None:
    body = report(await placed(api, us.case_id))
    async with limited(rate_failed_keys="3/7 days") as forger:
        answers = [await send(forger, us.pharmacy_id, body, **forged(body)) for _ in range(4)]
        answers.append(await send(forger, us.pharmacy_id, body))
    assert [answer.status_code for answer in answers] == [401, 401, 401, 429, 429]
    assert answers[-1].json()["code"] == "too_many_failed_signatures"
    assert int(answers[-1].headers["retry-after"]) > 0


async def test_a_connection_that_reported_lately_is_heard_whatever_its_neighbours_do(
    api: ContractClient, us: Tenant, limited: Limited
) -> None:
    body = report(await placed(api, us.case_id))
    async with limited(rate_failed_keys="3/7 days") as neighbourhood:
        assert (await send(neighbourhood, us.pharmacy_id, body)).status_code == 202
        others = [await send(neighbourhood, new_id(), body, **forged(body)) for _ in range(4)]
        assert [answer.status_code for answer in others] == [401, 401, 401, 429]
        assert (await send(neighbourhood, us.pharmacy_id, body)).status_code == 202


async def test_reports_that_come_at_once_are_counted_one_after_the_other(
    api: ContractClient, us: Tenant, database: Database
) -> None:
    order_id = await placed(api, us.case_id)
    with database.transaction() as session:
        for number in range(MOST_REPORTS - 2):
            message_id = f"message-{number}"
            session.add(PharmacyReport(pharmacy_id=us.pharmacy_id, message_id=message_id, order_id=order_id, body={}))
    answers = await asyncio.gather(*(send(api, us.pharmacy_id, report(order_id)) for _ in range(6)))
    assert sorted(answer.status_code for answer in answers) == [202, 202, 409, 409, 409, 409]


async def test_an_order_takes_so_many_reports_and_no_more(api: ContractClient, us: Tenant, database: Database) -> None:
    order_id = await placed(api, us.case_id)
    body = report(order_id)
    with database.transaction() as session:
        for number in range(MOST_REPORTS - 1):
            message_id = f"message-{number}"
            session.add(PharmacyReport(pharmacy_id=us.pharmacy_id, message_id=message_id, order_id=order_id, body={}))
    last = sign_report(REPORT_SECRET, body)
    assert (await send(api, us.pharmacy_id, body, **last)).status_code == 202
    refused = await send(api, us.pharmacy_id, body)
    assert (refused.status_code, refused.json()["code"]) == (409, "too_many_reports")
    assert (await send(api, us.pharmacy_id, body, **last)).status_code == 202
    assert (await send(api, us.pharmacy_id, report(await placed(api, us.case_id)))).status_code == 202
