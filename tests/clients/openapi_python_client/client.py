"""The scenario with the client of openapi-python-client."""

from typing import TypeVar
from uuid import UUID

import scenario
from orders_api_client import AuthenticatedClient
from orders_api_client.api.cases import create_case, perform_case_action
from orders_api_client.api.orders import download_document, get_order, list_order_documents, list_orders
from orders_api_client.api.webhooks import create_webhook, delete_webhook
from orders_api_client.models import (
    ActionName,
    CaseAction,
    ErrorResponse,
    Event,
    EventType,
    NewCase,
    NewOrder,
    NewWebhook,
    Patient,
)
from orders_api_client.types import UNSET
from scenario import CreatedWebhook, Json, OrderEvent, OrderPage, Refused, StoredDocument

Answer = TypeVar("Answer")


def accept(answer: Answer | ErrorResponse | None) -> Answer:
    """An error answer is a value of the union that the call returns; mypy wants it told apart."""
    assert answer is not None
    if isinstance(answer, ErrorResponse):
        details = [(detail.path, detail.code) for detail in answer.details or []]
        raise Refused(answer.status, answer.code, details)
    return answer


class Client:
    def __init__(self, url: str, key: str) -> None:
        self.client = AuthenticatedClient(
            base_url=url, token=key, prefix="", auth_header_name="cv-api-key", raise_on_unexpected_status=True
        )

    def create_case(self, first_name: str, last_name: str) -> UUID:
        case = NewCase(patient=Patient(first_name=first_name, last_name=last_name))
        return accept(create_case.sync(client=self.client, body=case)).data.case.id

    def place_order(self, case_id: UUID, order: Json, idempotency_key: str) -> UUID:
        action = CaseAction(action=ActionName.PLACE_ORDER, order=NewOrder.from_dict(order))
        answer = perform_case_action.sync(case_id, client=self.client, body=action, idempotency_key=idempotency_key)
        return accept(answer).data.order.id

    def order_status(self, order_id: UUID) -> tuple[str, str]:
        order = accept(get_order.sync(order_id, client=self.client)).data.order
        return order.status.value, order.document_status.value

    def documents(self, order_id: UUID) -> list[StoredDocument]:
        documents = accept(list_order_documents.sync(order_id, client=self.client)).data.documents
        return [StoredDocument(document.id, document.sha256) for document in documents]

    def download(self, order_id: UUID, document_id: UUID) -> bytes:
        return accept(download_document.sync(order_id, document_id, client=self.client)).payload.read()

    def order_page(self, case_id: UUID, limit: int, cursor: str | None) -> OrderPage:
        answer = list_orders.sync(client=self.client, case_id=case_id, limit=limit, cursor=cursor or UNSET)
        page = accept(answer).data
        return OrderPage([order.id for order in page.orders], page.next_cursor or None)

    def create_webhook(self, url: str) -> CreatedWebhook:
        webhook = NewWebhook(url=url, events=[EventType.ORDER_STATUS_CHANGED])
        created = accept(create_webhook.sync(client=self.client, body=webhook)).data
        return CreatedWebhook(created.webhook.id, created.secret)

    def delete_webhook(self, webhook_id: UUID) -> None:
        # A 204 has no body, so success is None here, as the generated type says.
        answer = delete_webhook.sync_detailed(webhook_id, client=self.client)
        if isinstance(answer.parsed, ErrorResponse):
            accept(answer.parsed)

    def read_event(self, event: Json) -> OrderEvent:
        read = Event.from_dict(event)
        status = read.data.status
        return OrderEvent(read.type_.value, read.data.order_id or None, status.value if status else None)


if __name__ == "__main__":
    scenario.run(Client)
