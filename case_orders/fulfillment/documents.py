"""Fetching the prescription documents that a pharmacy named, and storing them for good."""

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence

import structlog
from sqlalchemy import bindparam
from sqlmodel import Session, col, select

from case_orders import outbox, progress
from case_orders.db import now
from case_orders.documents import DocumentExists, Fetched, FetchFailed, fetch_pdf
from case_orders.envelope import JSON
from case_orders.fulfillment.connection import connect
from case_orders.settings import Settings
from case_orders.webhooks.events import EventType, announce
from case_orders.work import Again, Context, GiveUp
from models import Document, Order, Pharmacy
from models.jobs import Claimed, JobKind
from models.orders import DocumentStatus

log = structlog.get_logger("case_orders.fulfillment")

MOST_DOCUMENTS = 50
"""How many documents an order may have, so that no pharmacy fills the store."""


def name(session: Session, named: Sequence[tuple[Order, JSON]]) -> None:
    """Promise to fetch each document that is not stored, from where it lies now; new ones while there is room."""
    if not named:
        return
    known = _of_orders(session, [order.id for order, _ in named])
    missing: dict[str, tuple[Order, Document]] = {}
    left_out = Counter[str]()
    for order, document in named:
        row = next((row for row in known[order.id] if row.source_id == document["id"]), None)
        if row is None:
            if len(known[order.id]) >= MOST_DOCUMENTS:
                left_out[order.id] += 1
                continue
            row = _named(order, document)
            known[order.id].append(row)
        elif row.stored_at is None:
            row.source_url, row.expected_sha256, row.failure = document["url"], document.get("sha256"), None
        if row.stored_at is None:
            missing[row.id] = order, row
    session.add_all(row for _, row in missing.values())
    for order, _ in named:
        _summarize(session, order, known[order.id])
    fetching = [progress.job_about(order, JobKind.FETCH_DOCUMENT, subject=row.id) for order, row in missing.values()]
    outbox.ensure(session, fetching)
    for order_id, count in left_out.items():
        log.warning("documents not taken", order=order_id, count=count)


def _named(order: Order, document: JSON) -> Document:
    return Document(
        organization_id=order.organization_id,
        order_id=order.id,
        source_id=document["id"],
        source_url=document["url"],
        file_name=document.get("fileName", f"{document['id']}.pdf"),
        expected_sha256=document.get("sha256"),
    )


async def fetch_document(context: Context, job: Claimed) -> None:
    document, pharmacy = await context.read_together(_look, job.subject)
    if document.stored_at is not None:
        await context.complete(job)
        return
    headers = connect(context, pharmacy).document_headers(document.source_url)
    try:
        fetched = await fetch_pdf(
            context.outbound, document.source_url, headers=headers, expected_sha256=document.expected_sha256
        )
    except FetchFailed as failure:
        raise (Again if failure.retry else GiveUp)(failure.reason) from failure
    stored = await _store(context, document, fetched)
    await context.complete_together(job, _record, (document, stored))


_LOOK = (
    select(Document, Pharmacy)
    .join(Order, col(Order.id) == Document.order_id)
    .join(Pharmacy, col(Pharmacy.id) == Order.pharmacy_id)
    .where(col(Document.id).in_(bindparam("ids", expanding=True)))
)


def _look(session: Session, document_ids: Sequence[str]) -> list[tuple[Document, Pharmacy]]:
    found = {
        document.id: (document, pharmacy)
        for document, pharmacy in session.exec(_LOOK, params={"ids": list(document_ids)})
    }
    return [found[document_id] for document_id in document_ids]


async def _store(context: Context, document: Document, fetched: Fetched) -> Fetched:
    """Put the document into the store before its row says so.

    What lies there already was checked before it was put, by an attempt that was cut off before it could say so;
    it stays, even if the pharmacy has rendered the document anew since.
    """
    try:
        await context.documents.put(document.storage_key, fetched.data)
    except DocumentExists:
        return Fetched.of(await context.documents.read(document.storage_key))
    return fetched


_OF_ORDERS = (
    select(Document)
    .where(col(Document.order_id).in_(bindparam("order_ids", expanding=True)))
    .execution_options(populate_existing=True)
)


def _of_orders(session: Session, order_ids: Collection[str]) -> Mapping[str, list[Document]]:
    """All documents of these orders, by order. Whoever changes one holds its order."""
    documents = defaultdict(list)
    for document in session.exec(_OF_ORDERS, params={"order_ids": list(set(order_ids))}):
        documents[document.order_id].append(document)
    return documents


def _record(session: Session, _settings: Settings, fetched: Sequence[tuple[Document, Fetched]]) -> None:
    order_ids = [document.order_id for document, _ in fetched]
    orders = progress.lock_all(session, order_ids)
    documents = _of_orders(session, order_ids)
    for read, stored in fetched:
        order, siblings = orders[read.order_id], documents[read.order_id]
        (document,) = (row for row in siblings if row.id == read.id)
        if document.stored_at is None:  # else another job was quicker
            document.size, document.sha256 = stored.size, stored.sha256
            document.stored_at = order.updated_at = now()
            document.failure = None
            session.add(document)
            _summarize(session, order, siblings)
            announce(session, order, EventType.DOCUMENT_STORED, documentId=document.id)


def _summarize(session: Session, order: Order, documents: Collection[Document]) -> None:
    if any(document.failure for document in documents):
        status = DocumentStatus.FAILED
    elif all(document.stored_at for document in documents):
        status = DocumentStatus.STORED
    else:
        status = DocumentStatus.PENDING
    if status is not order.document_status:
        order.document_status, order.updated_at = status, now()
        session.add(order)


def fail_document(session: Session, job: Claimed, reason: str) -> None:
    """The job was given up: the document is missing until the pharmacy names it anew or an operator replays the job."""
    order = progress.lock(session, session.get_one(Document, job.subject).order_id)
    documents = _of_orders(session, [order.id])[order.id]
    (document,) = (row for row in documents if row.id == job.subject)
    if document.stored_at is None:
        document.failure = reason[:500]
        session.add(document)
        _summarize(session, order, documents)
