"""Requests that may be repeated."""

import asyncio
from datetime import timedelta
from typing import Any

import httpx2
import pytest
from sqlmodel import func, select

from case_orders import idempotency
from case_orders.db import Database, new_id, now
from models import Case, IdempotentAnswer, Order
from tests.handlers.steps import place
from tests.support.contract_client import ContractClient
from tests.support.orders import documented, placement
from tests.support.world import PATIENT, Tenant

KEY = {"Idempotency-Key": "a-key"}
REPLAYED = "idempotency-replayed"


def count(database: Database, table: Any, tenant: Tenant) -> int:
    with database.transaction() as session:
        rows = select(func.count()).select_from(table).where(table.organization_id == tenant.organization_id)
        return session.exec(rows).one()


def answer_of(response: httpx2.Response) -> tuple[int, str, str | None]:
    """What a repetition must have in common with the first answer."""
    return response.status_code, response.text, response.headers.get("location")


async def test_the_same_request_under_the_same_key_gets_the_same_answer_and_one_order(
    api: ContractClient, us: Tenant, database: Database
) -> None:
    first = await place(api, us.case_id, documented(), **KEY)
    again = await place(api, us.case_id, documented(), **KEY)
    assert answer_of(again) == answer_of(first)
    assert (first.headers.get(REPLAYED), again.headers.get(REPLAYED)) == (None, "true")
    assert count(database, Order, us) == 1


async def test_the_key_may_stand_in_the_body(api: ContractClient, us: Tenant, database: Database) -> None:
    body = documented() | {"idempotencyKey": "a-key"}
    answers = [await place(api, us.case_id, body), await place(api, us.case_id, body)]
    answers.append(await place(api, us.case_id, documented(), **KEY))  # the same key, by the header
    assert len({answer_of(answer) for answer in answers}) == 1
    assert [answer.headers.get(REPLAYED) for answer in answers] == [None, "true", "true"]
    assert count(database, Order, us) == 1


async def test_without_a_key_every_request_counts(api: ContractClient, us: Tenant, database: Database) -> None:
    for _ in range(2):
        await place(api, us.case_id, documented())
    assert count(database, Order, us) == 2


async def test_the_order_of_fields_does_not_matter(api: ContractClient, us: Tenant) -> None:
    body = documented()
    first = await place(api, us.case_id, body, **KEY)
    turned = {"order": dict(reversed(body["order"].items())), "action": body["action"]}
    assert answer_of(await place(api, us.case_id, turned, **KEY)) == answer_of(first)


async def test_the_same_key_for_another_request_is_a_conflict(
    api: ContractClient, us: Tenant, database: Database
) -> None:
    await place(api, us.case_id, documented(), **KEY)
    for answer in (
        await place(api, us.case_id, placement(diagnosis="Another"), **KEY),
        await place(api, us.case_without_address, documented(), **KEY),
    ):
        assert (answer.status_code, answer.json()["code"]) == (409, "idempotency_conflict")
    assert count(database, Order, us) == 1


async def test_twenty_requests_at_once_make_one_order(api: ContractClient, us: Tenant, database: Database) -> None:
    answers = await asyncio.gather(*(place(api, us.case_id, documented(), **KEY) for _ in range(20)))
    assert len({answer_of(answer) for answer in answers}) == 1
    assert answers[0].status_code == 200
    assert [answer.headers.get(REPLAYED) for answer in answers].count("true") == 19
    assert count(database, Order, us) == 1


async def test_a_key_counts_for_one_organization(api: ContractClient, us: Tenant, them: Tenant) -> None:
    ours = await place(api, us.case_id, documented(), **KEY)
    theirs = await place(api, them.case_id, documented(), **KEY, **them.headers)
    assert ours.status_code == theirs.status_code == 200
    assert ours.text != theirs.text


async def test_a_key_counts_for_one_operation(api: ContractClient, us: Tenant) -> None:
    await place(api, us.case_id, documented(), **KEY)
    answer = await api.post("/cases", json={"patient": PATIENT}, headers=KEY)
    assert answer.status_code == 201
    assert REPLAYED not in answer.headers


@pytest.mark.parametrize("wrong", [placement("drug-of-nobody"), placement(diagnosis="")], ids=["rule", "schema"])
async def test_a_refused_request_does_not_use_its_key_up(
    api: ContractClient, us: Tenant, database: Database, wrong: dict[str, Any]
) -> None:
    assert (await place(api, us.case_id, wrong, **KEY)).status_code == 400
    assert (await place(api, us.case_id, documented(), **KEY)).status_code == 200
    assert count(database, Order, us) == 1


async def test_a_case_is_created_once_under_a_key(api: ContractClient, us: Tenant, database: Database) -> None:
    before = count(database, Case, us)
    body = {"reference": "chart-1", "patient": PATIENT}
    answers = [await api.post("/cases", json=body, headers=KEY) for _ in range(3)]
    assert len({answer_of(answer) for answer in answers}) == 1
    assert answers[0].status_code == 201
    assert count(database, Case, us) == before + 1


async def test_an_answer_is_replayed_on_either_base_path(api: ContractClient, us: Tenant) -> None:
    first = await api.post(f"http://test/api/cases/{us.case_id}", json=documented(), headers=KEY)
    again = await api.post(f"http://test/api/v1/cases/{us.case_id}", json=documented(), headers=KEY)
    assert answer_of(again) == answer_of(first)


@pytest.mark.parametrize("key", ["", " ", "two words", "Ü", "a" * 256])
async def test_a_key_is_1_to_255_visible_characters(api: ContractClient, us: Tenant, key: str) -> None:
    answer = await place(api, us.case_id, documented(), **{"Idempotency-Key": key.encode()})
    assert (answer.status_code, answer.json()["details"][0]["path"]) == (400, "Idempotency-Key")
    assert (await place(api, us.case_id, documented() | {"idempotencyKey": key})).status_code == 400


async def test_answers_are_kept_for_at_least_a_day_and_then_forgotten(us: Tenant, database: Database) -> None:
    ages = {"a": timedelta(hours=24), "b": timedelta(hours=49)}
    with database.transaction() as session:
        for key, age in ages.items():
            session.add(
                IdempotentAnswer(
                    organization_id=us.organization_id,
                    operation=new_id(),
                    key=key,
                    fingerprint="",
                    answer={},
                    created_at=now() - age,
                )
            )
        session.flush()
        idempotency.forget_old(session, 500)
        kept = select(IdempotentAnswer.key).where(IdempotentAnswer.organization_id == us.organization_id)
        assert session.exec(kept).all() == ["a"]
