"""Rows of the caller's own organization, and nobody else's; lists of them in pages."""

from typing import Any

from sqlmodel import Session

from case_orders.auth import Caller
from case_orders.errors import Forbidden, not_found
from models import Case, Delivery, Document, Order, Webhook


def own_case(session: Session, caller: Caller, case_id: str) -> Case:
    """The source document knows no 404 for a case: one that is missing answers like another organization's."""
    case = session.get(Case, case_id)
    if case is None or case.organization_id != caller.organization_id:
        raise Forbidden("Case does not belong to your organization", "case_forbidden")
    return case


def own_order(session: Session, caller: Caller, order_id: str) -> Order:
    order = session.get(Order, order_id)
    if order is None or order.organization_id != caller.organization_id:
        raise not_found("Order")
    return order


def own_document(session: Session, caller: Caller, order_id: str, document_id: str) -> Document:
    order = own_order(session, caller, order_id)
    document = session.get(Document, document_id)
    if document is None or document.order_id != order.id or document.stored_at is None:
        raise not_found("Document")
    return document


def own_webhook(session: Session, caller: Caller, webhook_id: str, *, to_change: bool = False) -> Webhook:
    """One that is to be changed is nobody else's to change until this transaction ends."""
    webhook = session.get(Webhook, webhook_id, with_for_update={"key_share": True} if to_change else None)
    if webhook is None or webhook.organization_id != caller.organization_id:
        raise not_found("Webhook")
    return webhook


def own_delivery(session: Session, webhook: Webhook, delivery_id: str) -> Delivery:
    delivery = session.get(Delivery, delivery_id)
    if delivery is None or delivery.webhook_id != webhook.id:
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
