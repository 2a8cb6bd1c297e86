"""Cases and their timeline."""

import asyncio

import pytest

from case_orders.db import Database, new_id
from models.order_states import OrderState
from tests.handlers.steps import bring, placed, problems
from tests.support.contract_client import ContractClient
from tests.support.world import ADDRESS, PATIENT, Tenant


async def test_a_case_is_created_and_read_back(api: ContractClient) -> None:
    patient = PATIENT | {"email": "jane@example.com", "phoneNumber": "+14155550100"}
    answer = await api.post("/cases", json={"reference": "chart-1", "patient": patient})
    case = answer.json()["data"]["case"]
    assert (answer.status_code, answer.json()["message"]) == (201, "Case created successfully")
    assert answer.headers["location"] == f"/api/v1/cases/{case['id']}"
    assert case == {"id": case["id"], "reference": "chart-1", "patient": patient, "createdAt": case["createdAt"]}
    assert (await api.get(f"http://test{answer.headers['location']}")).json()["data"]["case"] == case


async def test_a_case_needs_only_a_name(api: ContractClient) -> None:
    patient = {"firstName": "Jane", "lastName": "Doe"}
    case = (await api.post("/cases", json={"patient": patient})).json()["data"]["case"]
    assert set(case) == {"id", "patient", "createdAt"}
    assert case["patient"] == patient


async def test_the_country_of_a_patient_is_kept_in_upper_case(api: ContractClient) -> None:
    patient = PATIENT | {"address": ADDRESS | {"country": "us"}}
    case = (await api.post("/cases", json={"patient": patient})).json()["data"]["case"]
    assert case["patient"]["address"] == ADDRESS


async def test_a_reference_is_used_once_in_an_organization(api: ContractClient, them: Tenant) -> None:
    body = {"reference": "chart-1", "patient": PATIENT}
    answers = await asyncio.gather(*(api.post("/cases", json=body) for _ in range(5)))
    assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409, 409]
    assert {answer.json().get("code") for answer in answers} == {None, "reference_taken"}
    assert (await api.post("/cases", json=body, headers=them.headers)).status_code == 201


async def test_a_wrong_case_is_refused_with_every_problem(api: ContractClient) -> None:
    patient = {"firstName": "", "dateOfBirth": "2023-02-29", "email": "@", "address": {}, "ssn": "1"}
    found = problems(await api.post("/cases", json={"patient": patient, "reference": "\n"}))
    assert set(found) == {"/reference"} | {
        f"/patient/{name}"
        for name in (
            *("firstName", "lastName", "dateOfBirth", "email", "ssn"),
            *(f"address/{line}" for line in ("addressLine1", "city", "state", "country", "postalCode")),
        )
    }


async def test_cases_are_listed_the_newest_first_and_by_reference(api: ContractClient, us: Tenant) -> None:
    made = [
        (await api.post("/cases", json={"reference": f"chart-{number}", "patient": PATIENT})).json()["data"]["case"]
        for number in range(3)
    ]
    page = (await api.get("/cases", params={"limit": 2})).json()["data"]
    assert page["cases"] == made[:0:-1]
    rest = (await api.get("/cases", params={"limit": 100, "cursor": page["nextCursor"]})).json()["data"]
    assert [case["id"] for case in rest["cases"]] == [
        made[0]["id"],
        *sorted([us.case_id, us.case_without_address])[::-1],
    ]
    assert "nextCursor" not in rest
    assert (await api.get("/cases", params={"reference": "chart-1"})).json()["data"] == {"cases": [made[1]]}


async def test_an_unknown_case_is_forbidden(api: ContractClient) -> None:
    for path in (f"/cases/{new_id()}", f"/cases/{new_id()}/activity"):
        answer = await api.get(path)
        assert (answer.status_code, answer.json()["code"]) == (403, "case_forbidden")


async def test_the_timeline_is_walked_from_the_oldest_event_without_gaps(
    api: ContractClient, us: Tenant, database: Database
) -> None:
    for _ in range(3):
        order_id = await placed(api, us.case_id)
        bring(database, order_id, OrderState.PROCESSING, OrderState.SUBMITTED, sent=True)
    events, cursor = [], "0"
    while True:
        data = (await api.get(f"/cases/{us.case_id}/activity", params={"limit": 4, "cursor": cursor})).json()["data"]
        if not data["events"]:
            assert "nextCursor" not in data
            break
        events += data["events"]
        cursor = data["nextCursor"]
    assert [event["type"] for event in events] == ["ORDER_CREATED", *["ORDER_STATUS_CHANGED"] * 2] * 3
    assert [event["sequence"] for event in events] == [1, 2, 3] * 3
    assert events[2]["data"] == {
        "caseId": us.case_id,
        "orderId": events[0]["data"]["orderId"],
        "status": "SUBMITTED",
        "previousStatus": "PROCESSING",
    }
    assert len({event["id"] for event in events}) == 9
    order_id = await placed(api, us.case_id)
    more = (await api.get(f"/cases/{us.case_id}/activity", params={"cursor": cursor})).json()["data"]["events"]
    assert [event["data"]["orderId"] for event in more] == [order_id]


async def test_orders_placed_at_once_share_no_place_in_the_timeline(api: ContractClient, us: Tenant) -> None:
    order_ids = await asyncio.gather(*(placed(api, us.case_id) for _ in range(20)))
    events = (await api.get(f"/cases/{us.case_id}/activity")).json()["data"]["events"]
    assert sorted(event["data"]["orderId"] for event in events) == sorted(order_ids)


@pytest.mark.parametrize("cursor", ["999999999999999", "2147483648"])
async def test_a_cursor_beyond_the_end_gives_an_empty_page(api: ContractClient, us: Tenant, cursor: str) -> None:
    await placed(api, us.case_id)
    answer = await api.get(f"/cases/{us.case_id}/activity", params={"cursor": cursor})
    assert (answer.status_code, answer.json()["data"]) == (200, {"events": []})
