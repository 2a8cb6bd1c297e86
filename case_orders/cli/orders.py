"""`case-orders orders`."""

from collections.abc import Iterator
from typing import Annotated

import typer
from sqlmodel import Session, col, select

from case_orders import progress
from case_orders.cli import console, jobs, organizations
from case_orders.cli.console import AsJson, Limit
from case_orders.cli.database import get, load_settings, open_store, snapshot, tell, transaction
from case_orders.envelope import JSON
from case_orders.settings import Settings
from models import Case, Document, Event, Job, Order, Organization, StatusChange
from models.jobs import JobKind
from models.order_states import OrderState

app = typer.Typer()

OrderId = Annotated[str, typer.Argument(metavar="ORDER_ID")]


@app.command("list")
def list_(
    organization: Annotated[str | None, typer.Option(help="Only this organization's: its id or exact name.")] = None,
    status: Annotated[OrderState | None, typer.Option(case_sensitive=False, help="Only those in this state.")] = None,
    limit: Limit = 50,
    as_json: AsJson = False,
) -> None:
    """List orders, the newest first."""
    query = select(Order, Organization.name).join(Organization).order_by(col(Order.id).desc()).limit(limit)
    if status is not None:
        query = query.where(Order.status == status)
    with snapshot() as session:
        if organization is not None:
            query = query.where(Order.organization_id == organizations.find(session, organization).id)
        rows = [{"id": order.id, "organization": name, **_standing(order)} for order, name in session.exec(query)]
    console.show_rows(rows, as_json=as_json)


@app.command()
def show(
    order_id: OrderId,
    full: Annotated[bool, typer.Option("--full", help="With the prescription and the patient: health data.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show an order: its state, history, documents, jobs and events. No health data unless asked for."""
    settings = load_settings()
    # Who looks at health data is told before it is shown.
    with transaction() if full else snapshot() as session:
        order = get(session, Order, order_id, "order")
        fields = {
            "id": order.id,
            "organization": order.organization_id,
            "case": order.case_id,
            **_standing(order),
            "pharmacyReference": order.pharmacy_reference,
            "cancelRequested": order.cancel_requested,
            "history": list(_history(session, order, full=full)),
            "documents": list(_documents(session, order, settings)),
            "jobs": [jobs.shown(job) for job in session.exec(select(Job).where(jobs.of_order(order.id)))],
            "events": list(_events(session, order)),
        }
        if full:
            patient = get(session, Case, order.case_id, "case").patient
            fields |= {"patient": patient, "order": order.as_json(session)}
            tell(session, "orders show", order.organization_id, order_id=order.id, case_id=order.case_id)
    console.show(fields, as_json=as_json)


def _standing(order: Order) -> JSON:
    return {
        "status": order.status,
        "documentStatus": order.document_status,
        "pharmacy": order.pharmacy_code,
        "createdAt": order.created_at,
        "updatedAt": order.updated_at,
    }


def _history(session: Session, order: Order, *, full: bool) -> Iterator[JSON]:
    changes = select(StatusChange).where(StatusChange.order_id == order.id).order_by(col(StatusChange.position))
    for change in session.exec(changes):
        # Why an order failed is in our own words; other reasons may be the pharmacy's, and speak of the patient.
        reason = change.reason if full or change.status is OrderState.FAILED else None
        yield {"status": change.status, "at": change.at, "reason": reason}


def _documents(session: Session, order: Order, settings: Settings) -> Iterator[JSON]:
    documents = select(Document).where(Document.order_id == order.id).order_by(col(Document.id))
    for document in session.exec(documents):
        yield {
            "id": document.id,
            "storedAt": document.stored_at,
            "size": document.size,
            "sha256": document.sha256,
            "failure": document.failure,
            "location": open_store(settings).location(document.storage_key) if document.stored_at else None,
        }


def _events(session: Session, order: Order) -> Iterator[JSON]:
    events = select(Event).where(Event.order_id == order.id).order_by(col(Event.sequence))
    for event in session.exec(events):
        yield {"sequence": event.sequence, "id": event.id, "type": event.type, "at": event.created_at}


@app.command()
def replay(order_id: OrderId) -> None:
    """Take up again what was given up: submit a FAILED order anew, replay the dead jobs of any other."""
    with transaction() as session:
        get(session, Order, order_id, "order")
        order = progress.lock(session, order_id)
        submitting = select(Job.id).where(Job.subject == order.id, Job.kind == JobKind.SUBMIT_ORDER)
        is_submitting = session.exec(submitting).first() is not None
        replayed = jobs.take_up(session, jobs.of_order(order.id))
        if order.status is OrderState.FAILED and not is_submitting:
            _submit(session, order)
        elif not replayed:
            console.fail("There is nothing to replay: no job of the order is dead.")
        tell(session, "orders replay", order.organization_id, order_id=order.id)
    console.say("The order is taken up again.")


def _submit(session: Session, order: Order) -> None:
    progress.promise(session, order, JobKind.SUBMIT_ORDER)
