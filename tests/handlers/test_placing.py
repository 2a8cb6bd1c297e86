"""The action PLACE_ORDER."""

from sqlmodel import select

from case_orders.db import Database, new_id
from models import Event, Job, Order, PrescriptionItem
from tests.support.contract_client import ContractClient
from tests.support.orders import documented, placement
from tests.support.world import ADDRESS, Tenant


async def place(api: ContractClient, case_id: str, body: object, **headers: str):
    return await api.post(f"/cases/{case_id}", json=body, headers=headers)


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
