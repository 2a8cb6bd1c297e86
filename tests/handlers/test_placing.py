"""The action PLACE_ORDER."""

import asyncio

import pytest
from sqlmodel import func, select

from case_orders.db import Database, new_id
from models import Event, Job, Order, PrescriptionItem
from tests.handlers.steps import place, placed, read
from tests.support.contract_client import ContractClient
from tests.support.orders import documented, placement
from tests.support.plans import statements
from tests.support.world import ADDRESS, Tenant


async def test_the_documented_example_is_answered_as_documented(api: ContractClient, us: Tenant) -> None:
    answer = await place(api, us.case_id, documented())
    order_id = answer.json()["data"]["order"]["id"]
    assert answer.status_code == 200
    assert answer.json() == {
        "status": 200,
        "success": True,
        "message": "Order created successfully",
        "data": {"order": {"id": order_id}},
    }


async def test_the_order_its_items_its_event_and_its_job_are_stored_together(
    api: ContractClient, us: Tenant, database: Database
) -> None:
    answer = await place(api, us.case_id, documented())
    order_id = answer.json()["data"]["order"]["id"]
    with database.transaction() as session:
        assert session.get_one(Order, order_id).organization_id == us.organization_id
        assert len(session.exec(select(PrescriptionItem).where(PrescriptionItem.order_id == order_id)).all()) == 1
        assert session.exec(select(Event.type).where(Event.order_id == order_id)).all() == ["ORDER_CREATED"]
        assert session.exec(select(Job.kind).where(Job.subject == order_id)).all() == ["submit_order"]


async def test_an_order_is_read_back_as_it_was_placed(api: ContractClient, us: Tenant) -> None:
    asked = documented()["order"]
    order_id = (await place(api, us.case_id, documented())).json()["data"]["order"]["id"]
    order = (await api.get(f"/orders/{order_id}")).json()["data"]["order"]
    assert {name: order[name] for name in asked} == asked


async def test_without_a_shipping_address_the_order_ships_to_the_patient(api: ContractClient, us: Tenant) -> None:
    answer = await place(api, us.case_id, placement(shippingAddress=None))
    order = (await api.get(f"/orders/{answer.json()['data']['order']['id']}")).json()["data"]["order"]
    assert order["shippingAddress"] == ADDRESS


async def test_without_any_address_the_order_is_refused(api: ContractClient, us: Tenant) -> None:
    answer = await place(api, us.case_without_address, placement(shippingAddress=None))
    assert answer.status_code == 400
    assert answer.json()["error"] == "shippingAddress is required"
    assert answer.json()["details"][0]["code"] == "shipping_address_required"


async def test_another_organizations_case_is_answered_like_one_that_does_not_exist(
    api: ContractClient, them: Tenant
) -> None:
    theirs = await place(api, them.case_id, documented())
    unknown = await place(api, new_id(), documented())
    assert theirs.status_code == unknown.status_code == 403
    assert theirs.json() | {"requestId": ""} == unknown.json() | {"requestId": ""}


@pytest.mark.parametrize("base", ["/api/v1", "/api"])
async def test_both_base_paths_take_an_order(api: ContractClient, us: Tenant, base: str) -> None:
    answer = await api.post(f"http://test{base}/cases/{us.case_id}", json=documented())
    assert answer.status_code == 200
    order_id = answer.json()["data"]["order"]["id"]
    assert (await api.get(f"http://test{base}/orders/{order_id}")).json()["data"]["order"]["status"] == "RECEIVED"


async def test_the_lower_case_country_of_an_order_is_kept_in_upper_case(api: ContractClient, us: Tenant) -> None:
    body = documented()
    body["order"]["shippingAddress"]["country"] = "us"
    body["order"]["prescriber"]["address"]["country"] = "uS"
    order = await read(api, (await place(api, us.case_id, body)).json()["data"]["order"]["id"])
    assert order["shippingAddress"]["country"] == order["prescriber"]["address"]["country"] == "US"


@pytest.mark.parametrize("name", ["dateWritten", "dateSigned", "datePrescribed", "patientHealthInfo"])
async def test_what_is_left_out_is_not_known_afterwards(api: ContractClient, us: Tenant, name: str) -> None:
    body = documented()
    body["order"].pop(name, None)
    order = await read(api, (await place(api, us.case_id, body)).json()["data"]["order"]["id"])
    assert name not in order


async def test_custom_fields_come_back_exactly(api: ContractClient, us: Tenant) -> None:
    fields = {
        "zulu": 1,
        "alpha": {"Ünïcode 💊": ["ﬁ", None, True, {"b": [], "a": {}}]},
        "numbers": [0, -1, 2**63 - 1, -(2**63), 0.1, 1e300, 5e-324, 2.5],
        "": "a name may be empty",
        "half \\u0000 escaped": "\\ud83d",
    }
    body = documented()
    body["order"]["prescriptionItems"][0]["customFields"] = fields
    order = await read(api, (await place(api, us.case_id, body)).json()["data"]["order"]["id"])
    given = order["prescriptionItems"][0]["customFields"]
    assert repr(given) == repr(fields)


async def test_a_hundred_items_keep_their_order(api: ContractClient, us: Tenant) -> None:
    items = [{"drugId": "drug-456", "quantity": str(number)} for number in range(1, 101)]
    order = await read(api, await placed(api, us.case_id, prescriptionItems=items))
    assert order["prescriptionItems"] == items


async def test_a_refused_order_leaves_nothing_behind(api: ContractClient, us: Tenant, database: Database) -> None:
    assert (await place(api, us.case_id, placement("drug-of-nobody"))).status_code == 400
    with database.transaction() as session:
        for table in (Order, Event, Job):
            count = select(func.count()).select_from(table).where(table.organization_id == us.organization_id)
            assert session.exec(count).one() == 0


async def test_placements_that_wait_together_look_everything_up_together(
    api: ContractClient, us: Tenant, database: Database
) -> None:
    await place(api, us.case_id, documented())  # so that its key is known
    with statements(database.engine, "SELECT") as queries:
        answers = await asyncio.gather(*(place(api, us.case_id, documented()) for _ in range(20)))
    assert {answer.status_code for answer in answers} == {200}
    assert len(queries) < 3 * 20, "each of seven look-ups was made for each order"
