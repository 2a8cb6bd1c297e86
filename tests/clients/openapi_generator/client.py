"""The scenario with the client of openapi-generator's `python`."""

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

import scenario
from openapi_client import (
    ActionName,
    ApiClient,
    ApiException,
    CaseAction,
    CasesApi,
    Configuration,
    ErrorResponse,
    Event,
    EventType,
    NewCase,
    NewOrder,
    NewWebhook,
    OrdersApi,
    Patient,
    WebhooksApi,
)
from scenario import CreatedWebhook, Json, OrderEvent, OrderPage, Refused, StoredDocument


@contextmanager
def refusals() -> Iterator[None]:
    """An error answer is an exception whose `data` is the model that the contract names."""
    try:
        yield
    except ApiException as exception:
        error = exception.data
        if not isinstance(error, ErrorResponse):
            raise
        details = [(detail.path, detail.code) for detail in error.details or []]
        raise Refused(error.status, error.code, details) from exception


class Client:
    def __init__(self, url: str, key: str) -> None:
        api_client = ApiClient(Configuration(host=url, api_key={"ApiKey": key}))
        self.cases, self.orders, self.webhooks = CasesApi(api_client), OrdersApi(api_client), WebhooksApi(api_client)

    def create_case(self, first_name: str, last_name: str) -> UUID:
        with refusals():
            patient = Patient(first_name=first_name, last_name=last_name)
            return self.cases.create_case(NewCase(patient=patient)).data.case.id

    def place_order(self, case_id: UUID, order: Json, idempotency_key: str) -> UUID:
        with refusals():
            action = CaseAction(action=ActionName.PLACE_ORDER, order=NewOrder.model_validate(order))
            answer = self.cases.perform_case_action(case_id, action, idempotency_key=idempotency_key)
            return answer.data.order.id

    def order_status(self, order_id: UUID) -> tuple[str, str]:
        with refusals():
            order = self.orders.get_order(order_id).data.order
            return order.status.value, order.document_status.value

    def documents(self, order_id: UUID) -> list[StoredDocument]:
        with refusals():
            documents = self.orders.list_order_documents(order_id).data.documents
            return [StoredDocument(document.id, document.sha256) for document in documents]

    def download(self, order_id: UUID, document_id: UUID) -> bytes:
        with refusals():
            return self.orders.download_document(order_id, document_id)

    def order_page(self, case_id: UUID, limit: int, cursor: str | None) -> OrderPage:
        with refusals():
            page = self.orders.list_orders(case_id=case_id, limit=limit, cursor=cursor).data
            return OrderPage([order.id for order in page.orders], page.next_cursor)

    def create_webhook(self, url: str) -> CreatedWebhook:
        with refusals():
            created = self.webhooks.create_webhook(NewWebhook(url=url, events=[EventType.ORDER_STATUS_CHANGED])).data
            return CreatedWebhook(created.webhook.id, created.secret)

    def delete_webhook(self, webhook_id: UUID) -> None:
        with refusals():
            self.webhooks.delete_webhook(webhook_id)

    def read_event(self, event: Json) -> OrderEvent:
        read = Event.model_validate(event)
        return OrderEvent(read.type.value, read.data.order_id, read.data.status and read.data.status.value)


if __name__ == "__main__":
    scenario.run(Client)
