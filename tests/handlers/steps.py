"""What the tests of handlers do over and over."""

import re
from collections.abc import Iterator
from typing import Any

import httpx2

from case_orders import progress
from case_orders.db import Database, new_id, now
from case_orders.edge import contract
from case_orders.signing_secrets import new_secret
from models import Delivery, Document, Event, Order, Webhook
from models.order_states import OrderState
from tests.support.contract_client import ContractClient
from tests.support.orders import documented, placement
from tests.support.world import Tenant


async def place(api: ContractClient, case_id: str, body: object, **headers: str | bytes) -> httpx2.Response:
    return await api.post(f"/cases/{case_id}", json=body, headers=headers)


async def placed(api: ContractClient, case_id: str, **changes: Any) -> str:
    """The id of a new order."""
    answer = await place(api, case_id, placement(**changes))
    assert answer.status_code == 200, answer.text
    order_id: str = answer.json()["data"]["order"]["id"]
    return order_id


async def read(api: ContractClient, order_id: str) -> dict[str, Any]:
    order: dict[str, Any] = (await api.get(f"/orders/{order_id}")).json()["data"]["order"]
    return order


def change(body: dict[str, Any], place: str, value: Any) -> None:
    """Put `value` at `order.prescriptionItems.0.drugId` or the like."""
    *way, last = [int(step) if step.isdecimal() else step for step in place.split(".")]
    node: Any = body
    for step in way:
        node = node[step]
    node[last] = value


def ordering(values: dict[str, Any]) -> dict[str, Any]:
    """The documented example with other values at some places below `order`."""
    body = documented()
    for where, value in values.items():
        change(body, f"order.{where}", value)
    return body


def problems(answer: httpx2.Response) -> dict[str, tuple[str, str]]:
    """Of a refused request: the message and code of each place."""
    assert answer.status_code == 400, answer.text
    return {detail["path"]: (detail["message"], detail["code"]) for detail in answer.json()["details"]}


def strings(value: Any, path: str = "") -> Iterator[str]:
    """Where the strings of a JSON value are, as JSON Pointers."""
    if isinstance(value, str):
        yield path
    elif isinstance(value, dict | list):
        for name, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from strings(item, f"{path}/{name}")


def bring(database: Database, order_id: str, *states: OrderState, sent: bool = False) -> None:
    """Bring an order through `states`, as a worker would."""
    with database.transaction() as session:
        order = progress.lock(session, order_id)
        order.sent = sent
        for state in states:
            progress.move(session, order, state)


def row(database: Database, order_id: str) -> Order:
    with database.transaction() as session:
        return session.get_one(Order, order_id)


async def ask(
    api: ContractClient, operation_id: str, ids: dict[str, str] | None = None, **headers: str
) -> httpx2.Response:
    """Call an operation as its examples do, with these ids in its path, and unknown ones where there are none."""
    operation = contract.operations()[operation_id]
    path = re.sub(r"\{(\w+)\}", lambda match: (ids or {}).get(match[1]) or new_id(), operation.path)
    content = operation.spec.get("requestBody", {}).get("content", {}).get("application/json", {})
    body = next((example["value"] for example in content.get("examples", {}).values()), None)
    return await api.request(operation.method.upper(), path, json=body, headers=headers)


async def objects(api: ContractClient, database: Database, tenant: Tenant) -> dict[str, str]:
    """New objects of an organization, by the names that paths have for their ids. The document has no bytes."""
    placement = await place(api, tenant.case_id, documented(), **tenant.headers)
    organization_id, order_id = tenant.organization_id, placement.json()["data"]["order"]["id"]
    with database.transaction() as session:
        document = Document(
            organization_id=organization_id,
            order_id=order_id,
            source_id="a",
            source_url="https://pharmacy.example/",
            file_name="a.pdf",
            size=1,
            sha256="0" * 64,
            stored_at=now(),
        )
        webhook = Webhook(
            organization_id=organization_id,
            url="https://hooks.example.com/",
            events=["ORDER_CREATED"],
            secret=new_secret(),
        )
        event = Event(organization_id=organization_id, type="TEST", data={})
        session.add_all([document, webhook, event])
        session.flush()
        delivery = Delivery(webhook_id=webhook.id, event_id=event.id, event_type="TEST")
        session.add(delivery)
        return {
            "caseId": tenant.case_id,
            "orderId": order_id,
            "documentId": document.id,
            "webhookId": webhook.id,
            "deliveryId": delivery.id,
        }
