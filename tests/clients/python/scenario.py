"""What an integrator does with the Orders API, once, for every generated Python client.

A client's module adapts its generated code to `OrdersClient` and calls `run`. What is checked here is the service's
side of the bargain; that the generated code has the types it should have is what mypy says of the adapters.
"""

import hashlib
import json
import math
import os
import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Protocol
from uuid import UUID, uuid4

from standardwebhooks import Webhook, WebhookVerificationError

PATIENCE_SECONDS = 60
ORDERS = 25
PAGE_SIZE = 10

Json = Mapping[str, Any]


class Refused(Exception):
    """The API answered an error; what the client's typed error says of it."""

    def __init__(self, status: int, code: str, details: list[tuple[str, str]]) -> None:
        super().__init__(f"{status} {code}")
        self.status = status
        self.code = code
        self.details = details


@dataclass(frozen=True)
class StoredDocument:
    id: UUID
    sha256: str


@dataclass(frozen=True)
class OrderPage:
    ids: list[UUID]
    next_cursor: str | None


@dataclass(frozen=True)
class CreatedWebhook:
    id: UUID
    secret: str


@dataclass(frozen=True)
class OrderEvent:
    type: str
    order_id: UUID | None
    status: str | None


class OrdersClient(Protocol):
    """A generated client, as the scenario uses it. Every call raises Refused for an error answer."""

    def create_case(self, first_name: str, last_name: str) -> UUID: ...

    def place_order(self, case_id: UUID, order: Json, idempotency_key: str) -> UUID: ...

    def order_status(self, order_id: UUID) -> tuple[str, str]:
        """The order's state and that of its documents."""

    def documents(self, order_id: UUID) -> list[StoredDocument]: ...

    def download(self, order_id: UUID, document_id: UUID) -> bytes: ...

    def order_page(self, case_id: UUID, limit: int, cursor: str | None) -> OrderPage: ...

    def create_webhook(self, url: str) -> CreatedWebhook: ...

    def delete_webhook(self, webhook_id: UUID) -> None: ...

    def read_event(self, event: Json) -> OrderEvent:
        """The verified body of a message, read with the client's own model."""


class Endpoint:
    """A webhook endpoint that keeps the raw messages."""

    def __init__(self) -> None:
        self._messages: queue.Queue[tuple[dict[str, str], bytes]] = queue.Queue()
        messages = self._messages

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                headers = {name.lower(): value for name, value in self.headers.items()}
                messages.put((headers, self.rfile.read(int(headers["content-length"]))))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Nothing: the scenario says what happens."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/orders"

    @contextmanager
    def listening(self) -> Iterator[None]:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        try:
            yield
        finally:
            self._server.shutdown()
            self._server.server_close()

    def messages(self) -> Iterator[tuple[dict[str, str], bytes]]:
        while True:
            yield self._messages.get(timeout=PATIENCE_SECONDS)


def run(connect: Callable[[str, str], OrdersClient]) -> None:
    """The scenario, with `connect` to make a client of a base URL and an API key; raises where something is not so."""
    url, key = os.environ["ORDERS_API_URL"], os.environ["ORDERS_API_KEY"]
    order: Json = json.loads(Path(os.environ["ORDERS_API_EXAMPLE"]).read_text())["order"]
    client, endpoint = connect(url, key), Endpoint()
    with endpoint.listening():
        webhook = client.create_webhook(endpoint.url)
        case_id = client.create_case("Ann", "Lee")
        order_id = client.place_order(case_id, order, str(uuid4()))
        await_completed(client, order_id)
        receive_completed(client, endpoint, webhook.secret, order_id)
        client.delete_webhook(webhook.id)
    download_documents(client, order_id)
    page_through(client, case_id, order, order_id)
    be_refused(client, connect(url, "not-a-key"), case_id, order)
    expect(404, "not_found", lambda: client.download(order_id, uuid4()))


def await_completed(client: OrdersClient, order_id: UUID) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while client.order_status(order_id) != ("COMPLETED", "STORED"):
        assert time.monotonic() < deadline, "the order was not completed in time"
        time.sleep(0.2)


def receive_completed(client: OrdersClient, endpoint: Endpoint, secret: str, order_id: UUID) -> None:
    """Read verified messages up to the one that says that the order is complete."""
    verifier = Webhook(secret)
    for headers, body in endpoint.messages():
        event = client.read_event(verifier.verify(body, headers))
        if (event.type, event.order_id, event.status) == ("ORDER_STATUS_CHANGED", order_id, "COMPLETED"):
            break
    try:
        verifier.verify(body.replace(b"COMPLETED", b"CANCELED"), headers)
    except WebhookVerificationError:
        return
    raise AssertionError("a message that was tampered with was taken for a true one")


def download_documents(client: OrdersClient, order_id: UUID) -> None:
    documents = client.documents(order_id)
    assert documents, "a completed order has documents"
    for document in documents:
        content = client.download(order_id, document.id)
        assert content.startswith(b"%PDF-")
        assert hashlib.sha256(content).hexdigest() == document.sha256


def page_through(client: OrdersClient, case_id: UUID, order: Json, first_id: UUID) -> None:
    """List the case's orders, newest first, in pages; none is missing and none comes twice."""
    placed = [first_id, *(client.place_order(case_id, order, str(uuid4())) for _ in range(ORDERS - 1))]
    pages = [client.order_page(case_id, PAGE_SIZE, None)]
    while cursor := pages[-1].next_cursor:
        pages.append(client.order_page(case_id, PAGE_SIZE, cursor))
    assert [order_id for page in pages for order_id in page.ids] == placed[::-1]
    assert len(pages) == math.ceil(ORDERS / PAGE_SIZE)


def be_refused(client: OrdersClient, stranger: OrdersClient, case_id: UUID, order: Json) -> None:
    item = {**order["prescriptionItems"][0], "drugId": "drug-unknown"}
    detail = ("/order/prescriptionItems/0/drugId", "unknown_drug")
    unknown_drug = {**order, "prescriptionItems": [item]}
    expect(400, "invalid_request", lambda: client.place_order(case_id, unknown_drug, str(uuid4())), [detail])
    expect(401, "invalid_api_key", lambda: stranger.place_order(case_id, order, str(uuid4())))
    expect(403, "case_forbidden", lambda: client.place_order(uuid4(), order, str(uuid4())))
    key = str(uuid4())
    placed = client.place_order(case_id, order, key)
    assert client.place_order(case_id, order, key) == placed
    other = {**order, "diagnosis": "Migraine"}
    expect(409, "idempotency_conflict", lambda: client.place_order(case_id, other, key))


def expect(status: int, code: str, call: Callable[[], object], details: list[tuple[str, str]] | None = None) -> None:
    """Make a call that has to be refused so, with these `(path, code)` of its details."""
    refusal: Refused | None = None
    try:
        call()
    except Refused as refused:
        refusal = refused
    assert refusal is not None, f"{status} {code} was expected"
    assert (refusal.status, refusal.code, refusal.details) == (status, code, details or [])
