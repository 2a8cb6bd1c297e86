"""What a message says: ids only unless the organization asks for more, and the way to a document it chose."""

import base64
from urllib.parse import parse_qs, urlsplit

from sqlmodel import select

from case_orders.db import now
from case_orders.edge.contract import component
from case_orders.links import Links
from case_orders.webhooks.events import EventType
from case_orders.webhooks.events import test_event as announce_test
from models import Delivery, Event, Webhook
from tests.webhooks.conftest import PDF, Desk, Endpoint, health_data


async def test_a_message_carries_identifiers_and_states_and_its_number(desk: Desk, endpoint: Endpoint) -> None:
    desk.subscribe(endpoint.url)
    desk.announce(previousStatus="RECEIVED")
    await desk.attempt()
    message = endpoint.received[0].json
    assert message["type"] == "ORDER_STATUS_CHANGED"
    assert message["sequence"] == 2
    assert message["data"] == {
        "caseId": desk.tenant.case_id,
        "orderId": desk.order_id,
        "status": "RECEIVED",
        "previousStatus": "RECEIVED",
    }
    assert endpoint.received[0].headers["Content-Type"] == "application/json"


async def test_a_message_with_ids_only_holds_no_health_data(desk: Desk, endpoint: Endpoint) -> None:
    desk.subscribe(endpoint.url, document_mode="URL")
    for event_type in (EventType.ORDER_CREATED, EventType.ORDER_STATUS_CHANGED, EventType.ORDER_TRACKING_ADDED):
        desk.announce(event_type)
        await desk.attempt()
    desk.announce(EventType.DOCUMENT_STORED, documentId=desk.document_id)
    await desk.attempt()
    assert len(endpoint.received) == 4
    leaked = {value for value in health_data() for message in endpoint.received if value.encode() in message.body}
    assert leaked == set()


async def test_a_message_with_all_data_holds_the_order(desk: Desk, endpoint: Endpoint) -> None:
    desk.subscribe(endpoint.url, data_mode="FULL")
    desk.announce()
    await desk.attempt()
    order = endpoint.received[0].json["data"]["order"]
    assert order["id"] == desk.order_id
    assert order["diagnosis"] == "Hypertension"
    assert order["prescriptionItems"][0]["direction"] == "Take 1 tablet daily with food"
    assert component("Order").problems(order) == []


async def test_a_link_to_a_document_is_one_that_the_service_takes(desk: Desk, endpoint: Endpoint) -> None:
    desk.subscribe(endpoint.url, document_mode="URL")
    desk.announce(EventType.DOCUMENT_STORED, documentId=desk.document_id)
    await desk.attempt()
    document = endpoint.received[0].json["data"]["document"]
    link = urlsplit(document["url"])
    query = parse_qs(link.query)
    assert link.path == f"/api/v1/documents/{desk.document_id}"
    assert Links.from_settings(desk.context.settings).allows(
        desk.document_id, int(query["expires"][0]), query["signature"][0], now()
    )
    assert document["fileName"] == "RX-000001.pdf"
    assert "content" not in document


async def test_a_document_sent_along_is_the_stored_one_byte_for_byte(desk: Desk, endpoint: Endpoint) -> None:
    desk.subscribe(endpoint.url, document_mode="BASE64")
    desk.announce(EventType.DOCUMENT_STORED, documentId=desk.document_id)
    await desk.attempt()
    document = endpoint.received[0].json["data"]["document"]
    assert base64.b64decode(document["content"], validate=True) == PDF
    assert "url" not in document


async def test_a_webhook_that_wants_no_documents_gets_the_id_alone(desk: Desk, endpoint: Endpoint) -> None:
    desk.subscribe(endpoint.url)
    desk.announce(EventType.DOCUMENT_STORED, documentId=desk.document_id)
    await desk.attempt()
    data = endpoint.received[0].json["data"]
    assert data["documentId"] == desk.document_id
    assert "document" not in data


def test_only_those_who_want_an_event_and_are_active_get_it(desk: Desk) -> None:
    wanting = desk.subscribe("http://127.0.0.1:9/")
    desk.change(desk.subscribe("http://127.0.0.1:9/"), events=["ORDER_CREATED"])
    desk.change(desk.subscribe("http://127.0.0.1:9/"), active=False)
    desk.announce()
    with desk.database.transaction() as session:
        assert session.exec(select(Delivery.webhook_id)).all() == [wanting]


async def test_a_test_event_belongs_to_no_order(desk: Desk, endpoint: Endpoint) -> None:
    webhook_id = desk.subscribe(endpoint.url, data_mode="FULL", document_mode="BASE64")
    with desk.database.transaction() as session:
        announce_test(session, session.get_one(Webhook, webhook_id))
    await desk.attempt()
    message = endpoint.received[0].json
    assert (message["type"], message["data"]) == ("TEST", {})
    assert "sequence" not in message


def test_the_numbers_of_events_have_no_gaps(desk: Desk) -> None:
    for _ in range(5):
        desk.announce()
    with desk.database.transaction() as session:
        events = session.exec(select(Event).where(Event.order_id == desk.order_id)).all()
    assert sorted(event.sequence or 0 for event in events) == [1, 2, 3, 4, 5, 6]
    assert sorted(event.position or 0 for event in events) == [1, 2, 3, 4, 5, 6]
