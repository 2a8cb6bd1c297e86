"""Rows of the caller's own organization, and nobody else's; lists of them in pages.

The database is asked for a row with its owner: what is another's is not even read, so that neither an answer nor its
time tells a foreign id from one that does not exist.
"""

from functools import cache
from typing import Any, TypeVar

from sqlalchemy import bindparam
from sqlmodel import Session, SQLModel, select

from case_orders.auth import Caller
from case_orders.errors import Forbidden, not_found
from models import Case, Delivery, Document, Order, Webhook

Row = TypeVar("Row", bound=SQLModel)


@cache
def _query(table: type[SQLModel], owner: str, *, lock: bool) -> Any:
    """Made once: to build a query takes longer than to find the row."""
    query = select(table).filter_by(id=bindparam("row_id"), **{owner: bindparam("owner_id")})
    return query.with_for_update(key_share=True) if lock else query


def _own(session: Session, table: type[Row], row_id: str, *, lock: bool = False, **owner: str) -> Row | None:
    """The row with this id that belongs to `owner`: the column that says so, and whose it must be."""
    ((column, owner_id),) = owner.items()
    ids = {"row_id": row_id, "owner_id": owner_id}
    row: Row | None = session.exec(_query(table, column, lock=lock), params=ids).one_or_none()
    return row


def own_case(session: Session, caller: Caller, case_id: str) -> Case:
    """The source document knows no 404 for a case: one that is missing answers like another organization's."""
    case = _own(session, Case, case_id, organization_id=caller.organization_id)
    if case is None:
        raise Forbidden("Case does not belong to your organization", "case_forbidden")
    return case


def own_order(session: Session, caller: Caller, order_id: str) -> Order:
    order = _own(session, Order, order_id, organization_id=caller.organization_id)
    if order is None:
        raise not_found("Order")
    return order


def own_document(session: Session, caller: Caller, order_id: str, document_id: str) -> Document:
    order = own_order(session, caller, order_id)
    document = _own(session, Document, document_id, order_id=order.id)
    if document is None or document.stored_at is None:
        raise not_found("Document")
    return document


def own_webhook(session: Session, caller: Caller, webhook_id: str, *, to_change: bool = False) -> Webhook:
    """One that is to be changed is nobody else's to change until this transaction ends."""
    webhook = _own(session, Webhook, webhook_id, lock=to_change, organization_id=caller.organization_id)
    if webhook is None:
        raise not_found("Webhook")
    return webhook


def own_delivery(session: Session, webhook: Webhook, delivery_id: str) -> Delivery:
    delivery = _own(session, Delivery, delivery_id, webhook_id=webhook.id)
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
