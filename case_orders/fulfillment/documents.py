"""Fetching the prescription documents that a pharmacy named, and storing them for good."""

from sqlmodel import Session, select

from case_orders import progress
from case_orders.db import now
from case_orders.documents import DocumentExists, Fetched, FetchFailed, fetch_pdf
from case_orders.envelope import JSON
from case_orders.fulfillment.connection import connect
from case_orders.webhooks.events import EventType, announce
from case_orders.work import Again, Context, GiveUp
from models import Document, Job, Order, Pharmacy
from models.jobs import JobKind
from models.orders import DocumentStatus


def name(session: Session, order: Order, named: list[JSON]) -> None:
    """Promise to fetch each document that is not stored, from where it lies now."""
    for document in named:
        where = select(Document).where(Document.order_id == order.id, Document.source_id == document["id"])
        row = session.exec(where).one_or_none() or Document(
            organization_id=order.organization_id,
            order_id=order.id,
            source_id=document["id"],
            source_url=document["url"],
            file_name=document.get("fileName", f"{document['id']}.pdf"),
        )
        if row.stored_at is None:
            row.source_url, row.expected_sha256, row.failure = document["url"], document.get("sha256"), None
            session.add(row)
            _summarize(session, order)
            progress.promise_once(session, order, JobKind.FETCH_DOCUMENT, subject=row.id)


async def fetch_document(context: Context, job: Job) -> None:
    document, pharmacy = await context.database.read(lambda session: _look(session, job))
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
    await context.complete(job, lambda session: _record(session, document.id, stored))


def _look(session: Session, job: Job) -> tuple[Document, Pharmacy]:
    document = session.get_one(Document, job.subject)
    order = session.get_one(Order, document.order_id)
    return document, session.get_one(Pharmacy, order.pharmacy_id)


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


def _lock(session: Session, document_id: str) -> tuple[Order, Document]:
    """A document and its order, which nobody else changes until this transaction ends."""
    document = session.get_one(Document, document_id)
    order = progress.lock(session, document.order_id)
    session.refresh(document)
    return order, document


def _record(session: Session, document_id: str, stored: Fetched) -> None:
    order, document = _lock(session, document_id)
    if document.stored_at is None:  # else another job was quicker
        document.size, document.sha256 = stored.size, stored.sha256
        document.stored_at = order.updated_at = now()
        document.failure = None
        session.add(document)
        _summarize(session, order)
        announce(session, order, EventType.DOCUMENT_STORED, documentId=document.id)


def _summarize(session: Session, order: Order) -> None:
    documents = session.exec(select(Document).where(Document.order_id == order.id)).all()
    if any(document.failure for document in documents):
        status = DocumentStatus.FAILED
    elif all(document.stored_at for document in documents):
        status = DocumentStatus.STORED
    else:
        status = DocumentStatus.PENDING
    if status is not order.document_status:
        order.document_status, order.updated_at = status, now()
        session.add(order)


def fail_document(session: Session, job: Job, reason: str) -> None:
    """The job was given up: the document is missing until the pharmacy names it anew or an operator replays the job."""
    order, document = _lock(session, job.subject)
    if document.stored_at is None:
        document.failure = reason[:500]
        session.add(document)
        _summarize(session, order)
