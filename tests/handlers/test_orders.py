"""Orders: read, listed, canceled."""

import asyncio

import pytest
from sqlalchemy import Connection, event
from sqlmodel import select

from case_orders import auth
from case_orders.db import Database, new_id
from models import Event, Job
from models.order_states import OrderState
from tests.handlers.steps import bring, placed, read, row
from tests.support.contract_client import ContractClient
from tests.support.world import Tenant

S = OrderState
WAY = (S.PROCESSING, S.SUBMITTED, S.ACKNOWLEDGED, S.FILLING, S.READY)


def jobs(database: Database, order_id: str, kind: str) -> int:
    with database.transaction() as session:
        return len(session.exec(select(Job).where(Job.subject == order_id, Job.kind == kind)).all())


def events(database: Database, order_id: str) -> int:
    with database.transaction() as session:
        return len(session.exec(select(Event).where(Event.order_id == order_id)).all())


async def listed(api: ContractClient, **query: object) -> list[str]:
    answer = await api.get("/orders", params=query)
    assert answer.status_code == 200, answer.text
    return [order["id"] for order in answer.json()["data"]["orders"]]


async def test_an_order_tells_its_history(api: ContractClient, us: Tenant, database: Database) -> None:
    order_id = await placed(api, us.case_id)
    bring(database, order_id, S.PROCESSING, S.SUBMITTED, S.REJECTED, sent=True)
    order = await read(api, order_id)
    assert order["status"] == "REJECTED"
    assert [change["status"] for change in order["statusHistory"]] == [
        "RECEIVED",
        "PROCESSING",
        "SUBMITTED",
        "REJECTED",
    ]


async def test_an_unknown_order_is_not_found(api: ContractClient) -> None:
    answer = await api.get(f"/orders/{new_id()}")
    assert (answer.status_code, answer.json()["error"]) == (404, "Order not found")


async def test_an_order_is_found_by_its_id_in_either_case(api: ContractClient, us: Tenant) -> None:
    order_id = await placed(api, us.case_id)
    assert (await read(api, order_id.upper()))["id"] == order_id


async def test_pages_give_each_of_25_orders_once_and_the_newest_first(api: ContractClient, us: Tenant) -> None:
    order_ids = [await placed(api, us.case_id) for _ in range(25)]
    pages: list[list[str]] = []
    cursor = None
    while cursor is not None or not pages:
        answer = await api.get("/orders", params={"limit": 10} | ({"cursor": cursor} if cursor else {}))
        pages.append([order["id"] for order in answer.json()["data"]["orders"]])
        cursor = answer.json()["data"].get("nextCursor")
        await placed(api, us.case_id)  # one that comes meanwhile shifts no other
    assert [len(page) for page in pages] == [10, 10, 5]
    assert [order_id for page in pages for order_id in page] == order_ids[::-1]


async def test_a_list_has_20_entries_unless_told_otherwise(api: ContractClient, us: Tenant) -> None:
    for _ in range(21):
        await placed(api, us.case_id)
    assert len(await listed(api)) == 20
    assert len(await listed(api, limit=100)) == 21


async def test_orders_are_listed_by_case_and_state(api: ContractClient, us: Tenant, database: Database) -> None:
    first, second = await placed(api, us.case_id), await placed(api, us.case_without_address)
    bring(database, second, S.PROCESSING)
    assert await listed(api, caseId=us.case_id) == [first]
    assert await listed(api, status="PROCESSING") == [second]
    assert await listed(api, status="PROCESSING", caseId=us.case_id) == []
    assert await listed(api, caseId=new_id()) == []


async def test_orders_are_listed_by_when_they_were_placed(api: ContractClient, us: Tenant) -> None:
    first, second = await placed(api, us.case_id), await placed(api, us.case_id)
    moment = (await read(api, second))["createdAt"]
    assert await listed(api, createdAfter=moment) == [second]
    assert await listed(api, createdBefore=moment) == [first]
    assert await listed(api, createdAfter=moment.replace("Z", "+00:00"), createdBefore=moment) == []


@pytest.mark.parametrize(
    "moment", ["9999-12-31T23:59:59-23:59", "0001-01-01T00:00:00+23:59", "2024-01-15", "0000-01-01T00:00:00Z"]
)
async def test_a_time_that_cannot_be_is_refused(api: ContractClient, moment: str) -> None:
    answer = await api.get("/orders", params={"createdAfter": moment})
    assert (answer.status_code, answer.json()["error"]) == (400, "createdAfter must be an RFC 3339 timestamp")


@pytest.mark.parametrize("limit", ["0", "101", "-1", "1.0", "ten", "", "+1", "1_0"])
async def test_a_page_has_1_to_100_entries(api: ContractClient, limit: str) -> None:
    answer = await api.get("/orders", params={"limit": limit})
    assert answer.status_code == 400
    assert answer.json()["details"][0]["path"] == "limit"


async def test_any_cursor_of_the_right_form_is_a_place_in_the_list(api: ContractClient, us: Tenant) -> None:
    order_id = await placed(api, us.case_id)
    assert await listed(api, cursor="f" * 8 + order_id[8:]) == [order_id]
    assert await listed(api, cursor=order_id) == []


@pytest.mark.parametrize("cursor", ["~", "drug-456", "20"])
async def test_a_cursor_of_another_list_is_refused(api: ContractClient, cursor: str) -> None:
    answer = await api.get("/orders", params={"cursor": cursor})
    assert answer.status_code == 400
    assert answer.json()["error"] == "cursor must be the nextCursor of another page"


# ---- canceling --------------------------------------------------------------------------------------------------


async def cancel(api: ContractClient, order_id: str) -> str:
    """The state after a cancel request was taken."""
    answer = await api.post(f"/orders/{order_id}/cancel")
    assert answer.status_code == 202, answer.text
    state: str = answer.json()["data"]["order"]["status"]
    return state


async def test_a_cancel_tells_how_far_the_order_has_come_and_nothing_that_only_a_reader_may_know(
    api: ContractClient, us: Tenant, database: Database
) -> None:
    order_id = await placed(api, us.case_id)
    writer = auth.new_key()
    with database.transaction() as session:
        auth.store_key(session, us.organization_id, "writer", writer, ["orders:write"])
    for message in ("Cancel request accepted", "Order is already being canceled"):
        answer = (await api.post(f"/orders/{order_id}/cancel", headers={"cv-api-key": writer})).json()
        assert answer["message"] == message
        assert answer["data"]["order"] == (await listed_rows(api))[order_id]


async def listed_rows(api: ContractClient) -> dict[str, dict[str, str]]:
    """The orders as a list tells them, by id."""
    return {order["id"]: order for order in (await api.get("/orders")).json()["data"]["orders"]}


async def test_an_order_that_was_not_sent_is_canceled_at_once(
    api: ContractClient, us: Tenant, database: Database
) -> None:
    order_id = await placed(api, us.case_id)
    assert await cancel(api, order_id) == "CANCELED"
    assert jobs(database, order_id, "cancel_order") == 0


async def test_no_two_cancels_share_a_transaction(api: ContractClient, us: Tenant, database: Database) -> None:
    """Each holds an order and then its case: together they would hold them crosswise to whoever works on both."""
    orders = [await placed(api, us.case_id) for _ in range(3)]
    commits: list[Connection] = []
    note = commits.append
    event.listen(database.engine, "commit", note)
    canceled = await asyncio.gather(*(cancel(api, order_id) for order_id in orders))
    event.remove(database.engine, "commit", note)
    assert canceled == ["CANCELED"] * 3
    assert len(commits) == 3


async def test_an_order_on_its_way_stays_and_the_pharmacy_is_asked(
    api: ContractClient, us: Tenant, database: Database
) -> None:
    order_id = await placed(api, us.case_id)
    bring(database, order_id, S.PROCESSING, sent=True)
    assert await cancel(api, order_id) == "PROCESSING"
    assert row(database, order_id).cancel_requested
    assert jobs(database, order_id, "cancel_order") == 1


@pytest.mark.parametrize(
    "states", [WAY[: number + 1] for number in range(1, 5)] + [(*WAY[:3], S.ON_HOLD)], ids=lambda states: states[-1]
)
async def test_an_order_at_the_pharmacy_is_requested_to_be_canceled(
    api: ContractClient, us: Tenant, database: Database, states: tuple[OrderState, ...]
) -> None:
    order_id = await placed(api, us.case_id)
    bring(database, order_id, *states, sent=True)
    assert await cancel(api, order_id) == "CANCEL_REQUESTED"
    assert row(database, order_id).resume == states[-1]
    assert jobs(database, order_id, "cancel_order") == 1


async def test_an_order_that_failed_may_be_known_to_the_pharmacy_and_is_asked_for(
    api: ContractClient, us: Tenant, database: Database
) -> None:
    order_id = await placed(api, us.case_id)
    bring(database, order_id, S.PROCESSING, S.FAILED, sent=True)
    assert await cancel(api, order_id) == "FAILED"
    assert jobs(database, order_id, "cancel_order") == 1


async def test_an_order_that_failed_before_it_was_sent_is_canceled_at_once(
    api: ContractClient, us: Tenant, database: Database
) -> None:
    order_id = await placed(api, us.case_id)
    bring(database, order_id, S.PROCESSING, S.FAILED)
    assert await cancel(api, order_id) == "CANCELED"


@pytest.mark.parametrize(
    "states",
    [(*WAY[:4], S.SHIPPED), (*WAY, S.COMPLETED), (*WAY[:2], S.REJECTED)],
    ids=lambda states: states[-1],
)
async def test_an_order_that_is_shipped_or_ended_can_no_longer_be_canceled(
    api: ContractClient, us: Tenant, database: Database, states: tuple[OrderState, ...]
) -> None:
    order_id = await placed(api, us.case_id)
    bring(database, order_id, *states, sent=True)
    answer = await api.post(f"/orders/{order_id}/cancel")
    assert (answer.status_code, answer.json()["code"]) == (409, "order_not_cancelable")
    assert not row(database, order_id).cancel_requested


@pytest.mark.parametrize("states", [(), (S.PROCESSING,), WAY[:3]], ids=["unsent", "on its way", "acknowledged"])
async def test_to_ask_again_changes_nothing(
    api: ContractClient, us: Tenant, database: Database, states: tuple[OrderState, ...]
) -> None:
    order_id = await placed(api, us.case_id)
    bring(database, order_id, *states, sent=bool(states))
    state = await cancel(api, order_id)
    before = (events(database, order_id), jobs(database, order_id, "cancel_order"), row(database, order_id).updated_at)
    assert await cancel(api, order_id) == state
    after = (events(database, order_id), jobs(database, order_id, "cancel_order"), row(database, order_id).updated_at)
    assert after == before
