"""The integrator's dry run: `validateOnly=true` answers what placing would, and stores nothing."""

import pytest
from sqlmodel import func, select

from case_orders.db import Database, new_id
from models import Event, IdempotentAnswer, Job, Order
from tests.support.contract_client import ContractClient
from tests.support.orders import documented, placement
from tests.support.world import Tenant


async def validate(api: ContractClient, case_id: str, body: object, **headers: str):
    return await api.post(f"/cases/{case_id}", json=body, headers=headers, params={"validateOnly": "true"})


async def test_a_valid_order_is_answered_with_its_warnings_and_no_order(api: ContractClient, us: Tenant) -> None:
    answer = (await validate(api, us.case_id, documented())).json()
    assert answer["message"] == "Order is valid; nothing was placed"
    assert answer["data"]["order"]["id"] == "00000000-0000-0000-0000-000000000000"
    assert [w["code"] for w in answer["data"]["warnings"]] == ["npi_check_digit", "phone_number"]


async def test_nothing_is_stored_and_no_key_is_used_up(api: ContractClient, us: Tenant, database: Database) -> None:
    key = new_id()
    await validate(api, us.case_id, documented(), **{"Idempotency-Key": key})
    for table in (Order, Event, Job, IdempotentAnswer):
        count = select(func.count()).select_from(table).where(table.organization_id == us.organization_id)
        with database.transaction() as session:
            assert session.exec(count).one() == 0
    placed = await api.post(f"/cases/{us.case_id}", json=placement("drug-hold"), headers={"Idempotency-Key": key})
    assert placed.status_code == 200
    assert "Idempotency-Replayed" not in placed.headers


@pytest.mark.parametrize(
    "body",
    [
        placement("drug-unknown", pharmacyId="pharmacy-unknown"),
        placement("drug-ii"),
        placement(diagnosis=None),
        placement(shippingAddress={"state": "XX"}),
    ],
)
async def test_an_order_that_would_be_refused_is_refused_alike(api: ContractClient, us: Tenant, body: object) -> None:
    validated = await validate(api, us.case_id, body)
    placed = await api.post(f"/cases/{us.case_id}", json=body)
    assert validated.status_code == 400
    assert validated.json() | {"requestId": ""} == placed.json() | {"requestId": ""}


async def test_another_organizations_case_is_forbidden_here_too(api: ContractClient, them: Tenant) -> None:
    assert (await validate(api, them.case_id, documented())).status_code == 403


async def test_false_places_the_order_and_anything_else_is_refused(api: ContractClient, us: Tenant) -> None:
    path = f"/cases/{us.case_id}"
    placed = await api.post(path, json=documented(), params={"validateOnly": "false"})
    refused = await api.post(path, json=documented(), params={"validateOnly": "1"})
    assert placed.json()["message"] == "Order created successfully"
    assert refused.json()["error"] == "validateOnly must be true or false"
