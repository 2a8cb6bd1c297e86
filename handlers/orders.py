"""Orders: how far they have come, their documents, and asking for one to be canceled."""

from collections.abc import Iterator
from datetime import datetime
from operator import ge, lt

from sqlmodel import Session, col, select

from case_orders import progress
from case_orders.audit import Trail
from case_orders.auth import Caller
from case_orders.batches import holding
from case_orders.db import now
from case_orders.documents import DocumentStore, StoreUnavailable
from case_orders.envelope import Answer, Download, accepted, ok, page
from case_orders.errors import Conflict, Forbidden, unavailable
from case_orders.links import Links
from case_orders.lookups import asking
from case_orders.shared_session import Ask
from handlers.lookup import ORDERS, own_document, own_order
from handlers.pages import Pages
from models import Document, Order
from models.jobs import JobKind
from models.order_states import MOVES, OrderState

_SUMMARIES = Pages(
    Order,
    of="organization_id",
    by="id",
    descending=True,
    columns=Order.SUMMARIZED,
    make=Order.summary_of,
    created_after=("created_at", ge),
    created_before=("created_at", lt),
)


def list_orders(
    session: Session,
    caller: Caller,
    limit: int,
    cursor: str | None = None,
    case_id: str | None = None,
    status: str | None = None,
    created_after: datetime | None = None,
    created_before: datetime | None = None,
) -> Answer:
    summaries, following = _SUMMARIES.page(
        session,
        caller.organization_id,
        limit,
        cursor,
        case_id=case_id,
        status=status,
        created_after=created_after,
        created_before=created_before,
    )
    return page("orders", summaries, following)


def _asks(caller: Caller, order_id: str) -> Iterator[Ask]:
    yield ORDERS.ask(order_id, caller.organization_id)
    yield from Order.asks(order_id)


@asking(_asks)
def get_order(session: Session, caller: Caller, order_id: str) -> Answer:
    return ok(order=own_order(session, caller, order_id).as_json(session))


@holding
def cancel_order(session: Session, caller: Caller, order_id: str) -> Answer:
    order = progress.lock(session, own_order(session, caller, order_id).id)
    if order.status in (OrderState.CANCELED, OrderState.CANCEL_REQUESTED) or order.cancel_requested:
        return accepted("Order is already being canceled", order=order.summary())
    if not order.sent and OrderState.CANCELED in MOVES[order.status]:
        progress.move(session, order, OrderState.CANCELED, "Canceled before it was sent to the pharmacy")
    elif {OrderState.CANCELED, OrderState.CANCEL_REQUESTED} & MOVES[order.status]:
        _ask_pharmacy(session, order)
    else:
        raise Conflict("Order can no longer be canceled", "order_not_cancelable")
    return accepted("Cancel request accepted", order=order.summary())


def _ask_pharmacy(session: Session, order: Order) -> None:
    """The pharmacy may have the order, so only the pharmacy can say that it will not be filled."""
    order.cancel_requested = True
    if OrderState.CANCEL_REQUESTED in MOVES[order.status]:
        order.resume = order.status
        progress.move(session, order, OrderState.CANCEL_REQUESTED)
    progress.promise(session, order, JobKind.CANCEL_ORDER)


def list_order_documents(session: Session, caller: Caller, order_id: str) -> Answer:
    order = own_order(session, caller, order_id)
    stored = select(Document).where(Document.order_id == order.id, col(Document.stored_at).is_not(None))
    documents = session.exec(stored.order_by(col(Document.stored_at), col(Document.id)))
    return ok(documents=[document.as_json() for document in documents])


def download_document(
    session: Session, caller: Caller, order_id: str, document_id: str, documents: DocumentStore
) -> Download:
    return _download(own_document(session, caller, order_id, document_id), documents)


def download_document_by_link(
    session: Session,
    document_id: str,
    expires: int,
    signature: str,
    links: Links,
    documents: DocumentStore,
    trail: Trail,
) -> Download:
    # Before any look: whoever cannot sign learns not even from the time it takes which documents there are.
    document = session.get(Document, document_id) if links.allows(document_id, expires, signature, now()) else None
    if document is None or document.stored_at is None:
        raise Forbidden("Link is not valid or has expired", "invalid_link")
    trail.recognize("link", document.organization_id)
    return _download(document, documents)


def _download(document: Document, documents: DocumentStore) -> Download:

    async def read() -> bytes:
        try:
            return await documents.read(document.storage_key)
        except StoreUnavailable:
            raise unavailable() from None

    assert document.size is not None  # it is stored
    return Download(document.file_name, document.content_type, document.size, read)
