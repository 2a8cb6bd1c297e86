"""Rows of the caller's own organization, and nobody else's.

The database is asked for a row with its owner: what is another's is not even read, so that neither an answer nor its
time tells a foreign id from one that does not exist.
"""

from typing import TypeVar

from sqlmodel import Session, SQLModel, select

from case_orders.auth import Caller
from case_orders.errors import Forbidden, not_found
from case_orders.lookups import Lookup
from models import Case, Delivery, Document, Order, Webhook

CASES = Lookup(Case, "id", "organization_id")
ORDERS = Lookup(Order, "id", "organization_id")
_DOCUMENTS = Lookup(Document, "id", "order_id")
_WEBHOOKS = Lookup(Webhook, "id", "organization_id")
_DELIVERIES = Lookup(Delivery, "id", "webhook_id")

T = TypeVar("T", bound=SQLModel)


def own_case(session: Session, caller: Caller, case_id: str) -> Case:
    """The source document knows no 404 for a case: one that is missing answers like another organization's."""
    case = CASES.one(session, case_id, caller.organization_id)
    if case is None:
        raise Forbidden("Case does not belong to your organization", "case_forbidden")
    return case


def own_order(session: Session, caller: Caller, order_id: str) -> Order:
    return _found("Order", ORDERS.one(session, order_id, caller.organization_id))


def own_document(session: Session, caller: Caller, order_id: str, document_id: str) -> Document:
    order = own_order(session, caller, order_id)
    document = _DOCUMENTS.one(session, document_id, order.id)
    if document is None or document.stored_at is None:
        raise not_found("Document")
    return document


def own_webhook(session: Session, caller: Caller, webhook_id: str) -> Webhook:
    return _found("Webhook", _WEBHOOKS.one(session, webhook_id, caller.organization_id))


def own_webhook_to_change(session: Session, caller: Caller, webhook_id: str) -> Webhook:
    """One that is nobody else's to change until this transaction ends."""
    query = select(Webhook).where(Webhook.id == webhook_id, Webhook.organization_id == caller.organization_id)
    return _found("Webhook", session.exec(query.with_for_update(key_share=True)).one_or_none())


def own_delivery(session: Session, webhook: Webhook, delivery_id: str) -> Delivery:
    return _found("Delivery", _DELIVERIES.one(session, delivery_id, webhook.id))


def _found(what: str, row: T | None) -> T:
    if row is None:
        raise not_found(what)
    return row
