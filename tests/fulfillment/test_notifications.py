"""An organization is told of its orders by webhook, from the API that makes one to the message that arrives."""

from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
import pytest_asyncio
from aiohttp import web
from standardwebhooks import Webhook as Verifier
from standardwebhooks import WebhookVerificationError

from tests.fulfillment.house import Clinic, until
from tests.support.web import listening

EVENTS = ["ORDER_CREATED", "ORDER_STATUS_CHANGED", "ORDER_TRACKING_ADDED", "DOCUMENT_STORED"]


class Receiver:
    """An organization's endpoint: keeps what comes."""

    def __init__(self) -> None:
        self.url = ""
        self.messages: list[tuple[dict[str, str], bytes]] = []

    async def receive(self, request: web.Request) -> web.Response:
        self.messages.append((dict(request.headers), await request.read()))
        return web.Response(status=204)

    def verified(self, secret: str) -> list[Any]:
        """The messages; raises unless `secret` signed each of them."""
        return [Verifier(secret).verify(body, headers) for headers, body in self.messages]


@pytest_asyncio.fixture(loop_scope="session")
async def receiver() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    app = web.Application()
    app.add_routes([web.post("/hook", receiver.receive)])
    async with listening(app) as url:
        receiver.url = f"{url}/hook"
        yield receiver


async def subscribe(clinic: Clinic, receiver: Receiver, **options: str) -> tuple[str, str]:
    """A webhook made through the API; its id and its secret."""
    answer = await clinic.call("POST", "/webhooks", json={"url": receiver.url, "events": EVENTS} | options)
    return answer.json()["data"]["webhook"]["id"], answer.json()["data"]["secret"]


async def test_every_event_of_an_order_arrives_once_signed_and_numbered(clinic: Clinic, receiver: Receiver) -> None:
    webhook_id, secret = await subscribe(clinic, receiver)
    order_id = await clinic.place()
    await clinic.until(order_id, status="COMPLETED", document_status="STORED")
    await clinic.until_settled(order_id)
    messages = receiver.verified(secret)
    assert sorted(message["sequence"] for message in messages) == list(range(1, 11))
    assert {message["data"]["orderId"] for message in messages} == {order_id}
    log = (await clinic.call("GET", f"/webhooks/{webhook_id}/deliveries?limit=100")).json()["data"]["deliveries"]
    assert [delivery["status"] for delivery in log] == ["DELIVERED"] * 10
    assert {len(delivery["attempts"]) for delivery in log} == {1}


async def test_the_link_in_a_message_serves_the_document_without_a_key(clinic: Clinic, receiver: Receiver) -> None:
    _, secret = await subscribe(clinic, receiver, documentMode="URL")
    order_id = await clinic.place()
    await clinic.until(order_id, document_status="STORED")
    await clinic.until_settled(order_id)
    (document,) = [m["data"]["document"] for m in receiver.verified(secret) if m["type"] == "DOCUMENT_STORED"]
    async with httpx2.AsyncClient(trust_env=False) as client:
        served = await client.get(document["url"])
    assert served.status_code == 200
    assert served.content.startswith(b"%PDF-")
    assert len(served.content) == document["size"]


async def test_after_a_rotation_the_old_secret_and_the_new_one_verify(clinic: Clinic, receiver: Receiver) -> None:
    webhook_id, old = await subscribe(clinic, receiver)
    rotated = await clinic.call("POST", f"/webhooks/{webhook_id}/rotate-secret")
    new = rotated.json()["data"]["secret"]
    await clinic.call("POST", f"/webhooks/{webhook_id}/test")
    await until(lambda: len(receiver.messages) == 1, "a test message")
    assert receiver.verified(old) == receiver.verified(new)
    with pytest.raises(WebhookVerificationError):
        receiver.verified("whsec_" + "A" * 32)
