"""What a pharmacy says of an order, applied to it: states, tracking, documents, the answer to a cancel request.

A report may come twice, late, or before the answer to the submission. A state never goes back; one that is behind
is recorded with its report and changes nothing.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlmodel import Session, select

from case_orders import progress
from case_orders.db import now
from case_orders.envelope import JSON
from case_orders.fulfillment import documents
from case_orders.webhooks.events import EventType, announce
from models import Job, Order
from models.jobs import JobKind, JobState
from models.order_states import FINAL, OrderState, is_irreversible, is_onward, rank

CHANGED, UNCHANGED = "changed", "unchanged"


def apply(session: Session, order: Order, report: JSON) -> str:
    """Bring the order up to a report (the contract's PharmacyReport); says whether its state changed."""
    return apply_all(session, [(order, report)])[0]


def apply_all(session: Session, told: Sequence[tuple[Order, JSON]]) -> list[str]:
    """The same for several reports, one after the other."""
    documents.name(session, [(order, named) for order, report in told for named in report.get("documents", [])])
    return [_apply(session, order, report) for order, report in told]


def _apply(session: Session, order: Order, report: JSON) -> str:
    before = order.status
    be_submitted(session, order)
    if order.pharmacy_reference is None and "reference" in report:
        order.pharmacy_reference = report["reference"]
    _take_tracking(session, order, report)
    if "status" in report:
        _take_status(session, order, report)
    if "cancellation" in report and not _is_of_earlier_request(session, order, report["cancellation"]):
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
            progress.promise_once(session, order, JobKind.CANCEL_ORDER)


# As far may a pharmacy's clock be ahead, like that of a signature.
_AHEAD = timedelta(minutes=5)


def _occurred_at(report: Mapping[str, Any]) -> datetime:
    """When it happened. A time that has not come would make all that is reported until then late."""
    return min(datetime.fromisoformat(report["occurredAt"].upper()), now() + _AHEAD)


def _take_status(session: Session, order: Order, report: JSON) -> None:
    reported, reason = OrderState(report["status"]), report.get("reason")
    occurred_at = _occurred_at(report)
    late = order.reported_at is not None and occurred_at < order.reported_at
    if reported is OrderState.CANCELED:
        _take_end(session, order, reason)
    elif order.status is OrderState.CANCELED and reported is not OrderState.REJECTED:
        _take_life(session, order, late=late)
    elif _is_onward(order, reported, late=late):
        if order.status is OrderState.CANCEL_REQUESTED and not is_irreversible(reported):
            order.resume = reported
            order.furthest = max(order.furthest, reported, key=rank)
        else:
            order.cancel_requested = order.cancel_requested and not is_irreversible(reported)
            progress.move(session, order, reported, reason)
    elif order.status not in FINAL:
        order.furthest = max(order.furthest, reported, key=rank)
    if not late:
        order.reported_at = occurred_at


def _is_onward(order: Order, reported: OrderState, *, late: bool) -> bool:
    """While a cancel waits for its answer, the order is where it would go on."""
    waiting = order.status is OrderState.CANCEL_REQUESTED and order.resume is not None
    current = order.resume if waiting and order.resume else order.status
    return is_onward(reported, current=current, furthest=order.furthest, late=late)


def _take_life(session: Session, order: Order, *, late: bool) -> None:
    """The pharmacy is at work on an order that was canceled: it is asked once more to stop."""
    if not late and not order.cancel_requested:
        order.cancel_requested = True
        progress.promise_once(session, order, JobKind.CANCEL_ORDER)


def _take_end(session: Session, order: Order, reason: str | None) -> None:
    """A cancel that nobody asked for is a rejection."""
    asked, order.cancel_requested = order.cancel_requested, False
    if order.status in FINAL:
        return
    if asked:
        progress.move(session, order, OrderState.CANCELED, reason)
    else:
        progress.move(session, order, OrderState.REJECTED, reason or "Canceled by the pharmacy")


def _is_of_earlier_request(session: Session, order: Order, answer: JSON) -> bool:
    """Whether a denial cannot be meant for the present request, as that has still to be taken to the pharmacy.

    Times would not tell: the two clocks may differ, and a lookup's is that of the last thing that happened.
    """
    waiting = select(Job.id).where(
        Job.kind == JobKind.CANCEL_ORDER, Job.subject == order.id, Job.state == JobState.WAITING
    )
    return not answer["granted"] and session.exec(waiting.limit(1)).one_or_none() is not None


def take_cancellation(session: Session, order: Order, answer: JSON) -> None:
    """The pharmacy's answer to a cancel request; one that comes too late, or unasked, changes nothing.

    Nor does one that comes while the order is being submitted anew: whoever ends that asks again.
    """
    if not order.cancel_requested or order.status is OrderState.PROCESSING:
        return
    order.cancel_requested = False
    session.add(order)
    if answer["granted"] and order.status in (OrderState.CANCEL_REQUESTED, OrderState.FAILED):
        progress.move(session, order, OrderState.CANCELED, answer.get("reason"))
    elif order.status is OrderState.CANCEL_REQUESTED:
        reason = "The pharmacy denied the cancel request" + (f": {answer['reason']}" if "reason" in answer else "")
        progress.move(session, order, order.resume or order.furthest, reason[:500])


def _take_tracking(session: Session, order: Order, report: JSON) -> None:
    """A carrier may come after its number. What is known already is not overwritten by what was said before it."""
    known = (order.tracking_number, order.carrier)
    number = report.get("trackingNumber", order.tracking_number)
    is_another = order.tracking_number is not None and number != order.tracking_number
    carrier = report.get("carrier", None if is_another else order.carrier)
    occurred_at = _occurred_at(report)
    is_outdated = order.tracking_number is not None and _is_outdated(order, occurred_at)
    if {"trackingNumber", "carrier"} & report.keys():
        order.tracking_reported_at = max(order.tracking_reported_at or occurred_at, occurred_at)
    if (number, carrier) == known or is_outdated:
        return
    order.tracking_number, order.carrier, order.updated_at = number, carrier, now()
    if number is not None:
        announce(session, order, EventType.ORDER_TRACKING_ADDED)


def _is_outdated(order: Order, occurred_at: datetime) -> bool:
    """Whether something that happened later has told of the order's state or tracking."""
    return any(at is not None and occurred_at < at for at in (order.reported_at, order.tracking_reported_at))
