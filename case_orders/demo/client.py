"""The platform's side of the demonstration: what an integrator would write, over real HTTP."""

import time
from typing import Any

import aiohttp

from case_orders.demo import example


class DemoFailed(Exception):
    """Something that the demonstration promises did not hold; the text says what."""


class Platform:
    """A client of the API at `url`, with the documented key."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self.url = url
        self.session = session

    async def _call(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        headers = {"cv-api-key": example.API_KEY, **options.pop("headers", {})}
        async with self.session.request(method, self.url + path, headers=headers, **options) as answer:
            body: dict[str, Any] = await answer.json()
            if not answer.ok:
                raise DemoFailed(f"{method} {path} answered {answer.status}: {body.get('error')}")
            return body

    async def is_ready(self) -> bool:
        try:
            await self._call("GET", "/readyz")
        except (aiohttp.ClientError, DemoFailed):
            return False
        return True

    async def place_example(self, base: str) -> str:
        """Place the documented order below a base path, its body untouched; answers the order's id."""
        path = f"{base}/cases/{example.CASE_ID}"
        answer = await self._call(
            "POST", path, data=example.body().encode(), headers={"Content-Type": "application/json"}
        )
        if (answer["status"], answer["success"], answer["message"]) != (200, True, "Order created successfully"):
            raise DemoFailed(f"POST {path} was not answered as documented")
        return str(answer["data"]["order"]["id"])

    async def create_webhook(self, url: str) -> str:
        """Subscribe to everything; answers the signing secret."""
        events = ["ORDER_CREATED", "ORDER_STATUS_CHANGED", "ORDER_TRACKING_ADDED", "DOCUMENT_STORED"]
        answer = await self._call("POST", "/api/v1/webhooks", json={"url": url, "events": events})
        return str(answer["data"]["secret"])

    async def order(self, order_id: str) -> dict[str, Any]:
        answer = await self._call("GET", f"/api/v1/orders/{order_id}")
        order: dict[str, Any] = answer["data"]["order"]
        return order

    async def documents(self, order_id: str) -> list[dict[str, Any]]:
        answer = await self._call("GET", f"/api/v1/orders/{order_id}/documents")
        documents: list[dict[str, Any]] = answer["data"]["documents"]
        return documents

    async def download(self, order_id: str, document_id: str) -> bytes:
        """A document's bytes as the API gives them out."""
        path = f"/api/v1/orders/{order_id}/documents/{document_id}"
        async with self.session.get(self.url + path, headers={"cv-api-key": example.API_KEY}) as answer:
            return await answer.read()


class Deadline:
    """Says when enough time has passed."""

    def __init__(self, seconds: float) -> None:
        self._ends = time.monotonic() + seconds

    def check(self, waiting_for: str) -> None:
        if time.monotonic() > self._ends:
            raise DemoFailed(f"waited too long for {waiting_for}")
