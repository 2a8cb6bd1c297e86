"""What must hold after every fault: each oracle reads the evidence and says what is wrong with it, if anything."""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit

from sqlmodel import Session, SQLModel, col, select

from case_orders.audit import verification
from case_orders.documents import DocumentStore
from models import AuditEntry, Delivery, Document, Event, Job, Order, Webhook
from models.jobs import JobKind, JobState
from models.order_states import FINAL, OrderState
from models.orders import StatusChange
from models.webhooks import DeliveryStatus
from tests.faults import integrity
from tests.faults.fleet import Fleet
from tests.support.keys import RING
from tests.support.needles import NEEDLES, found

Row = TypeVar("Row", bound=SQLModel)


@dataclass(frozen=True)
class Evidence:
    """What a deployment has come to: its rows, files and logs, and what those around it know."""

    fleet: Fleet
    orders: Mapping[str, Order]
    changes: Mapping[str, Sequence[StatusChange]]
    events: Mapping[str, Sequence[Event]]
    documents: Sequence[Document]
    jobs: Sequence[Job]
    webhooks: Mapping[str, Webhook]
    deliveries: Sequence[Delivery]
    book: Mapping[str, Mapping[str, Any]]
    objects: Mapping[str, str | None]
    """The SHA-256 of what lies under each key of the document store; None for what cannot be opened."""
    damage: Sequence[str]
    """What the database's own check found."""
    entries: Sequence[AuditEntry]
    trail_is_whole: bool
    """What `case-orders audit verify` would say; a process for each fault would take as long as all else."""

    @classmethod
    async def of(cls, fleet: Fleet) -> "Evidence":
        book, objects = await fleet.book(), await _objects(fleet)
        with fleet.database.snapshot() as session:
            orders = {order.id: order for order in session.exec(select(Order))}
            changes = _by_order(session.exec(select(StatusChange).order_by(col(StatusChange.position))))
            events = _by_order(session.exec(select(Event).order_by(col(Event.sequence))))
            documents, jobs, deliveries = _all(session, Document), _all(session, Job), _all(session, Delivery)
            entries = _all(session, AuditEntry)
            trail_is_whole = not any(verdict.fault for verdict in verification.verify(session))
            webhooks = {webhook.id: webhook for webhook in session.exec(select(Webhook))}
        damage = integrity.check(fleet.database)
        return cls(
            fleet,
            orders,
            changes,
            events,
            documents,
            jobs,
            webhooks,
            deliveries,
            book,
            objects,
            damage,
            entries,
            trail_is_whole,
        )


def _all(session: Session, table: type[Row]) -> list[Row]:
    return list(session.exec(select(table)))


def _by_order(rows: Any) -> dict[str, list[Any]]:
    by_order = defaultdict(list)
    for row in rows:
        by_order[row.order_id].append(row)
    return by_order


async def _objects(fleet: Fleet) -> dict[str, str | None]:
    url = fleet.settings[0].document_store
    store, root = DocumentStore.open(url), Path(unquote(urlsplit(url).path))
    keys = [str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()]
    return {key: await _digest(store, key) for key in keys}


async def _digest(store: DocumentStore, key: str) -> str | None:
    try:
        return hashlib.sha256(await store.read(key)).hexdigest()
    except Exception:  # whatever lies there, it is no document
        return None


# ---- the oracles -------------------------------------------------------------------------------------------------


def acknowledged_is_stored(evidence: Evidence) -> Iterator[str]:
    ledger = evidence.fleet.ledger
    yield from ledger.surprises
    if lost := ledger.order_ids - evidence.orders.keys():
        yield f"{len(lost)} acknowledged orders are not stored"
    asked = (OrderState.CANCELED, OrderState.CANCEL_REQUESTED)
    kept = {id_ for id_, changes in evidence.changes.items() if any(change.status in asked for change in changes)}
    pending = {id_ for id_, order in evidence.orders.items() if order.cancel_requested}
    if forgotten := ledger.canceled - kept - pending:
        yield f"{len(forgotten)} acknowledged cancels left no trace"


def one_order_for_each_key(evidence: Evidence) -> Iterator[str]:
    ledger = evidence.fleet.ledger
    if several := sum(len(order_ids) > 1 for order_ids in ledger.placed.values()):
        yield f"{several} keys were answered with several orders"
    if extra := evidence.orders.keys() - ledger.order_ids:
        yield f"{len(extra)} orders are stored that no key was answered with"


def every_order_has_its_events(evidence: Evidence) -> Iterator[str]:
    for order in evidence.orders.values():
        events = evidence.events[order.id]
        if [event.sequence for event in events] != list(range(1, order.last_sequence + 1)):
            yield "an order's events have a gap"
        elif [event.type for event in events[:1]] != ["ORDER_CREATED"]:
            yield "an order does not begin with its event"
        told = [event.data["status"] for event in events if event.type == "ORDER_STATUS_CHANGED"]
        if told != [change.status for change in evidence.changes[order.id]][1:]:
            yield "an order's history and its events differ"


def every_event_is_received(evidence: Evidence) -> Iterator[str]:
    all_events = [event for events in evidence.events.values() for event in events]
    for receiver in evidence.fleet.receivers:
        events = {event.id: event for event in all_events if not receiver.was_gone_at(event.created_at)}
        yield from receiver.complaints
        if receiver.trapped:
            yield f"{receiver.name}: a redirect was followed"
        received = {id_ for id_, arrivals in receiver.arrivals.items() if arrivals}
        if missed := events.keys() - received:
            yield f"{receiver.name}: {len(missed)} events were not received"
        for id_ in events.keys() & received:
            if receiver.messages[id_].get("sequence") != events[id_].sequence:
                yield f"{receiver.name}: a message has another sequence than its event"
    yield from _redeliveries_missed(evidence)


def _redeliveries_missed(evidence: Evidence) -> Iterator[str]:
    receivers = {receiver.name: receiver for receiver in evidence.fleet.receivers}
    for name, event_id, asked_at in evidence.fleet.ledger.redelivered:
        if not any(arrival > asked_at for arrival in receivers[name].arrivals[event_id]):
            yield f"{name}: a redelivery that was acknowledged did not come"


def every_accepted_order_is_filled_once(evidence: Evidence) -> Iterator[str]:
    if several := sum(len(keys) > 1 for keys in evidence.fleet.front.keys.values()):
        yield f"{several} orders reached the pharmacy under several keys"
    if unknown := evidence.book.keys() - evidence.orders.keys():
        yield f"the pharmacy has {len(unknown)} orders that we do not have"
    for order in evidence.orders.values():
        fills = evidence.book.get(order.id, {}).get("fills", 0)
        if fills != (order.status in (OrderState.SHIPPED, OrderState.COMPLETED)):
            yield f"an order that is {order.status} was filled {fills} times"
        expected = _expected(evidence.fleet, order)
        if order.status in FINAL and order.status not in expected:
            yield f"an order ended {order.status}"


def _expected(fleet: Fleet, order: Order) -> set[OrderState]:
    """The ends that an order may come to."""
    if order.id in fleet.ledger.canceled:
        return set(FINAL)
    refused = fleet.ledger.drugs.get(order.id) == "drug-reject"
    return {OrderState.REJECTED if refused else OrderState.COMPLETED}


def documents_are_whole(evidence: Evidence) -> Iterator[str]:
    stored = {document.storage_key: document.sha256 for document in evidence.documents if document.stored_at}
    if missing := stored.keys() - evidence.objects.keys():
        yield f"{len(missing)} documents are not where they were stored"
    if orphans := evidence.objects.keys() - stored.keys():
        yield f"{len(orphans)} objects belong to no document"
    for key in stored.keys() & evidence.objects.keys():
        if stored[key] != evidence.objects[key]:
            yield "a document is not what was stored"
    if evidence.fleet.front.trapped:
        yield "a redirect of the pharmacy was followed"


def the_audit_trail_is_whole(evidence: Evidence) -> Iterator[str]:
    if not evidence.trail_is_whole:
        yield "the chains of the audit trail do not hold"
    placements = [entry for entry in evidence.entries if entry.action == "performCaseAction"]
    told = {entry.records.get("order_id") for entry in placements}
    if untold := evidence.orders.keys() - told:
        yield f"{len(untold)} orders were placed without an entry"


def queues_drain(evidence: Evidence) -> Iterator[str]:
    yield from (f"{job.kind} was buried" for job in evidence.jobs if job.state is JobState.DEAD)
    waiting = [job for job in evidence.jobs if job.state is JobState.WAITING and job.kind is not JobKind.FOLLOW_ORDER]
    yield from (f"still waiting: {_described(job)}" for job in waiting[:5])
    if unfinished := [order.status for order in evidence.orders.values() if order.status not in FINAL]:
        yield f"{len(unfinished)} orders have not come to an end: {', '.join(sorted(set(unfinished)))}"
    if unfetched := [document for document in evidence.documents if document.stored_at is None]:
        yield f"{len(unfetched)} documents are not here"
    active = {id_ for id_, webhook in evidence.webhooks.items() if webhook.active}
    undelivered = [
        one for one in evidence.deliveries if one.webhook_id in active and one.status is not DeliveryStatus.DELIVERED
    ]
    if undelivered:
        yield f"{len(undelivered)} deliveries are not done"
    promised = {job.subject for job in evidence.jobs if job.kind is JobKind.DELIVER_WEBHOOK}
    if forgotten := [one for one in undelivered if one.id not in promised]:
        yield f"{len(forgotten)} deliveries are not done and no job is about them"


def _described(job: Job) -> str:
    """When it would have been tried, for whoever looks for the reason that it was not."""
    lease = "not leased" if job.leased_until is None else f"leased until {job.leased_until:%H:%M:%S}"
    return f"{job.kind}, due {job.due_at:%d. %H:%M:%S}, {lease}, attempt {job.attempt}, last error: {job.last_error}"


def the_database_is_sound(evidence: Evidence) -> Iterator[str]:
    yield from evidence.damage


def no_log_tells(evidence: Evidence) -> Iterator[str]:
    fleet = evidence.fleet
    secrets = {fleet.tenant.key, *RING.split(":")[1:], *(receiver.secret for receiver in fleet.receivers)}
    needles = NEEDLES | {secret.encode() for secret in secrets}
    for program in fleet.service:
        if found(needles, program.log.read_bytes()):
            yield f"{program.log.name} holds what nobody may read"


ORACLES: Mapping[str, Callable[[Evidence], Iterator[str]]] = {
    "O1": acknowledged_is_stored,
    "O2": one_order_for_each_key,
    "O3": every_order_has_its_events,
    "O4": every_event_is_received,
    "O5": every_accepted_order_is_filled_once,
    "O6": documents_are_whole,
    "O7": the_audit_trail_is_whole,
    "O8": queues_drain,
    "O9": the_database_is_sound,
    "O10": no_log_tells,
}

Verdicts = dict[str, list[str]]
"""What each oracle complains about."""


def judge(evidence: Evidence) -> Verdicts:
    return {name: sorted(set(oracle(evidence))) for name, oracle in ORACLES.items()}


def is_settled(session: Session) -> bool:
    """Whether nothing is left to be done, as far as the database knows."""
    active = select(Webhook.id).where(col(Webhook.active))
    open_work = (
        select(Order.id).where(col(Order.status).not_in(FINAL)),
        select(Document.id).where(col(Document.stored_at).is_(None), col(Document.failure).is_(None)),
        select(Job.id).where(Job.state == JobState.WAITING, Job.kind != JobKind.FOLLOW_ORDER),
        select(Delivery.id).where(Delivery.status == DeliveryStatus.PENDING, col(Delivery.webhook_id).in_(active)),
    )
    return all(session.exec(query.limit(1)).first() is None for query in open_work)
