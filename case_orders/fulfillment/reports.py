"""What a pharmacy says of an order, applied to it: states, tracking, documents, the answer to a cancel request.

A report may come twice, late, or before the answer to the submission. A state never goes back; one that is behind
is recorded with its report and changes nothing.
"""

from datetime import datetime

from sqlmodel import Session, select

from case_orders import progress
from case_orders.db import now
from case_orders.envelope import JSON
from case_orders.webhooks.events import EventType, announce
from case_orders.work import Context
from models import Document, Job, Order, PharmacyReport
from models.jobs import JobKind
from models.order_states import FINAL, OrderState, is_irreversible, is_onward, rank
from models.orders import DocumentStatus

CHANGED, UNCHANGED = "changed", "unchanged"


async def apply_report(context: Context, job: Job) -> None:
    def act(session: Session) -> None:
        report = session.exec(select(PharmacyReport).where(PharmacyReport.id == job.subject)).one()
        order = progress.lock(session, report.order_id)
        report.outcome = apply(session, order, report.body)
        session.add(report)

    await context.complete(job, act)


def apply(session: Session, order: Order, report: JSON) -> str:
    """Bring the order up to a report (the contract's PharmacyReport); says whether its state changed."""
    before = order.status
    be_submitted(session, order)
    order.pharmacy_reference = order.pharmacy_reference or report.get("reference")
    _take_tracking(session, order, report)
    name_documents(session, order, report.get("documents", []))
    if "status" in report:
        _take_status(session, order, report)
    if "cancellation" in report:
        take_cancellation(session, order, report["cancellation"])
    session.add(order)
    return CHANGED if order.status is not before else UNCHANGED


def be_submitted(session: Session, order: Order) -> None:
    """The pharmacy has the order, whether or not its answer to the submission ever came."""
    if order.status is OrderState.FAILED:
        progress.move(session, order, OrderState.PROCESSING, "The pharmacy has the order after all")
    if order.status is OrderState.PROCESSING:
        progress.move(session, order, OrderState.SUBMITTED)
        if order.cancel_requested:
            order.resume = OrderState.SUBMITTED
            progress.move(session, order, OrderState.CANCEL_REQUESTED)


def _take_status(session: Session, order: Order, report: JSON) -> None:
    reported, reason = OrderState(report["status"]), report.get("reason")
    occurred_at = datetime.fromisoformat(report["occurredAt"].upper())
    late = order.reported_at is not None and occurred_at < order.reported_at
    if reported is OrderState.CANCELED:
        _take_end(session, order, reason)
    elif not (late and reported is OrderState.ON_HOLD) and _is_onward(order, reported):
        if order.status is OrderState.CANCEL_REQUESTED and not is_irreversible(reported):
            order.resume = reported
            order.furthest = max(order.furthest, reported, key=rank)
        else:
            order.cancel_requested = order.cancel_requested and not is_irreversible(reported)
            progress.move(session, order, reported, reason)
    if not late:
        order.reported_at = occurred_at


def _is_onward(order: Order, reported: OrderState) -> bool:
    """While a cancel waits for its answer, the order is where it would go on."""
    waiting = order.status is OrderState.CANCEL_REQUESTED and order.resume is not None
    current = order.resume if waiting and order.resume else order.status
    return is_onward(reported, current=current, furthest=order.furthest)


def _take_end(session: Session, order: Order, reason: str | None) -> None:
    """A cancel that nobody asked for is a rejection."""
    if order.status in FINAL:
        return
    if order.cancel_requested:
        progress.move(session, order, OrderState.CANCELED, reason)
    else:
        progress.move(session, order, OrderState.REJECTED, reason or "Canceled by the pharmacy")


def take_cancellation(session: Session, order: Order, answer: JSON) -> None:
    """The pharmacy's answer to a cancel request; one that comes too late, or unasked, changes nothing."""
    if not order.cancel_requested or order.status not in (OrderState.CANCEL_REQUESTED, OrderState.FAILED):
        return
    order.cancel_requested = False
    session.add(order)
    if answer["granted"]:
        progress.move(session, order, OrderState.CANCELED, answer.get("reason"))
    elif order.status is OrderState.CANCEL_REQUESTED:
        reason = "The pharmacy denied the cancel request" + (f": {answer['reason']}" if "reason" in answer else "")
        progress.move(session, order, order.resume or order.furthest, reason[:500])


def _take_tracking(session: Session, order: Order, report: JSON) -> None:
    number = report.get("trackingNumber")
    if number is not None and number != order.tracking_number:
        order.tracking_number, order.carrier = number, report.get("carrier")
        order.updated_at = now()
        announce(session, order, EventType.ORDER_TRACKING_ADDED)


def name_documents(session: Session, order: Order, named: list[JSON]) -> None:
    """Promise to fetch each document that is new, or that could not be fetched before."""
    for document in named:
        where = select(Document).where(Document.order_id == order.id, Document.source_id == document["id"])
        row = session.exec(where).one_or_none()
        if row is not None and row.failure is None:
            continue
        row = row or Document(
            organization_id=order.organization_id,
            order_id=order.id,
            source_id=document["id"],
            source_url=document["url"],
            file_name=document.get("fileName", f"{document['id']}.pdf"),
        )
        row.source_url, row.expected_sha256, row.failure = document["url"], document.get("sha256"), None
        session.add(row)
        session.flush()
        order.document_status = DocumentStatus.PENDING
        progress.promise(session, order, JobKind.FETCH_DOCUMENT, subject=row.id)
