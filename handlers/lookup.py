"""Rows of the caller's own organization, and nobody else's; lists of them in pages.

The database is asked for a row with its owner: what is another's is not even read, so that neither an answer nor its
time tells a foreign id from one that does not exist.
"""

from typing import Any

from sqlmodel import Session

from case_orders.auth import Caller
from case_orders.errors import Forbidden, not_found
from case_orders.lookups import Lookup
from models import Case, Delivery, Document, Order, Webhook

CASES = Lookup(Case, "id", "organization_id")
ORDERS = Lookup(Order, "id", "organization_id")
_WEBHOOKS_HELD = Lookup(Webhook, "id", "organization_id", lock=True)
_DOCUMENTS = Lookup(Document, "id", "order_id")
_WEBHOOKS = Lookup(Webhook, "id", "organization_id")
_DELIVERIES = Lookup(Delivery, "id", "webhook_id")


def own_case(session: Session, caller: Caller, case_id: str) -> Case:
    """The source document knows no 404 for a case: one that is missing answers like another organization's."""
    case = CASES.one(session, case_id, caller.organization_id)
    if case is None:
        raise Forbidden("Case does not belong to your organization", "case_forbidden")
    return case


def own_order(session: Session, caller: Caller, order_id: str) -> Order:
    order = ORDERS.one(session, order_id, caller.organization_id)
    if order is None:
        raise not_found("Order")
    return order


def own_document(session: Session, caller: Caller, order_id: str, document_id: str) -> Document:
    order = own_order(session, caller, order_id)
    document = _DOCUMENTS.one(session, document_id, order.id)
    if document is None or document.stored_at is None:
        raise not_found("Document")
    return document


def own_webhook(session: Session, caller: Caller, webhook_id: str, *, to_change: bool = False) -> Webhook:
    """One that is to be changed is nobody else's to change until this transaction ends."""
    webhook = (_WEBHOOKS_HELD if to_change else _WEBHOOKS).one(session, webhook_id, caller.organization_id)
    if webhook is None:
        raise not_found("Webhook")
    return webhook


def own_delivery(session: Session, webhook: Webhook, delivery_id: str) -> Delivery:
    delivery = _DELIVERIES.one(session, delivery_id, webhook.id)
    if delivery is None:
        raise not_found("Delivery")
    return delivery


def page_of(
    session: Session, query: Any, by: Any, cursor: str | None, limit: int, *, descending: bool = False
) -> tuple[list[Any], str | None]:
    """One page of `query` in the order of the unique column `by`, and the cursor of the next while there is more.

    A cursor is the last row's value of `by`: a deep page costs what the first one does, and a row that comes or
    goes meanwhile shifts no other.
    """
    if cursor is not None:
        query = query.where(by < cursor if descending else by > cursor)
    rows = list(session.exec(query.order_by(by.desc() if descending else by).limit(limit + 1)))
    more = len(rows) > limit
    return rows[:limit], str(getattr(rows[limit - 1], by.key)) if more else None
