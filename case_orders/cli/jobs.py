"""`case-orders jobs`: what waits, since when, and what was given up and why."""

from collections import defaultdict
from collections.abc import Iterable
from operator import attrgetter
from typing import Annotated, Any

import typer
from sqlalchemy import literal, union_all
from sqlmodel import Session, col, select

from case_orders import outbox
from case_orders.cli import console
from case_orders.cli.console import AsJson, Exit, Limit
from case_orders.cli.database import snapshot, tell, transaction
from case_orders.db import now
from case_orders.envelope import JSON
from case_orders.webhooks import events
from models import Delivery, Document, Event, Job, PharmacyReport, Webhook
from models.jobs import JobKind, JobState

app = typer.Typer()

Kind = Annotated[JobKind | None, typer.Option(help="Only jobs of this kind.")]


def of_order(order_id: str) -> Any:
    """The condition for the jobs of an order: about itself, its documents, its reports or its deliveries."""
    deliveries = select(Delivery.id).join(Event).where(Event.order_id == order_id)
    subjects = union_all(
        select(literal(order_id)),
        select(Document.id).where(Document.order_id == order_id),
        select(PharmacyReport.id).where(PharmacyReport.order_id == order_id),
        deliveries,
    )
    return col(Job.subject).in_(subjects)


def shown(job: Job) -> JSON:
    """A job for people: running while a worker has it, due once it may be claimed, waiting before, dead after."""
    return {
        "id": job.id,
        "kind": job.kind,
        "subject": job.subject,
        "organization": job.organization_id,
        "destination": job.destination,
        "state": _state(job),
        "attempt": job.attempt,
        "since": job.created_at,
        "dueAt": None if job.state is JobState.DEAD else job.due_at,
        "lastError": job.last_error,
    }


def take_up(session: Session, *conditions: Any) -> list[Job]:
    """Let the dead jobs of which the conditions hold live again, with all their attempts before them; those jobs.

    A message is pending again with its job. No job is held that a worker may hold, and webhooks are in one order, in
    which workers hold them too: neither waits for the other in a circle.
    """
    dead = (Job.state == JobState.DEAD, *conditions)
    sends = select(Delivery.id).where(Delivery.id == Job.subject).exists()
    others = session.exec(select(Job).where(*dead, ~sends).order_by(col(Job.id)).with_for_update()).all()
    for job in others:
        outbox.replay(session, job)
    messages = select(Job, Delivery).join(Delivery, col(Delivery.id) == Job.subject).where(*dead)
    sent = session.exec(messages.order_by(col(Delivery.webhook_id), col(Job.id))).all()
    for _, delivery in sent:
        if (webhook := events.hold(session, Webhook, delivery.webhook_id)) is not None:
            events.send_now(session, webhook, delivery.id)
    return [*others, *(job for job, _ in sent)]


def _state(job: Job) -> str:
    moment = now()
    if job.state is JobState.DEAD:
        return "dead"
    if job.leased_until is not None and moment < job.leased_until:
        return "running"
    return "due" if job.due_at <= moment else "waiting"


@app.command("list")
def list_(
    dead: Annotated[bool, typer.Option("--dead", help="Only those that were given up.")] = False,
    due: Annotated[bool, typer.Option("--due", help="Only those that a worker may take now.")] = False,
    waiting: Annotated[bool, typer.Option("--waiting", help="Only those that were not given up.")] = False,
    kind: Kind = None,
    limit: Limit = 50,
    as_json: AsJson = False,
) -> None:
    """List jobs, those that were due first before the others."""
    if dead and (due or waiting):
        raise typer.BadParameter("--dead goes with neither --due nor --waiting")
    states = [JobState.DEAD] if dead else [JobState.WAITING] if due or waiting else list(JobState)
    query = select(Job).order_by(col(Job.due_at)).limit(limit)
    if due:
        query = query.where(col(Job.due_at) <= now())
    if kind is not None:
        query = query.where(Job.kind == kind)
    with snapshot() as session:
        # One state after the other, so that an index gives the order.
        jobs = [job for state in states for job in session.exec(query.where(Job.state == state))]
    first = sorted(jobs, key=attrgetter("due_at"))[:limit]
    console.show_rows([shown(job) for job in first], as_json=as_json)


@app.command()
def replay(
    job_ids: Annotated[list[str] | None, typer.Argument(metavar="JOB_ID...", help="Dead jobs.")] = None,
    all_dead: Annotated[bool, typer.Option("--all-dead", help="Every dead job.")] = False,
    kind: Kind = None,
) -> None:
    """Let dead jobs live again, with all their attempts before them; all that are named or none."""
    if bool(job_ids) == all_dead or (kind is not None and not all_dead):
        raise typer.BadParameter("give the ids of jobs, or --all-dead, which may have a --kind")
    conditions: list[Any] = [] if all_dead else [col(Job.id).in_(job_ids or [])]
    if kind is not None:
        conditions.append(col(Job.kind) == kind)
    with transaction() as session:
        jobs = take_up(session, *conditions)
        _require_all(session, set(job_ids or ()), jobs)
        _tell(session, jobs)
    console.say(f"Jobs replayed: {len(jobs)}.")


def _require_all(session: Session, named: set[str], replayed: Iterable[Job]) -> None:
    left = named - {job.id for job in replayed}
    if len(session.exec(select(Job.id).where(col(Job.id).in_(left))).all()) < len(left):
        console.fail("One of the jobs does not exist, or is done.", Exit.NOT_FOUND)
    if left:
        console.fail("One of the jobs is not dead.")


def _tell(session: Session, jobs: Iterable[Job]) -> None:
    """Each organization's chain tells of its own jobs; that there were none belongs to nobody."""
    ids: defaultdict[str, list[str]] = defaultdict(list)
    for job in jobs:
        ids[job.organization_id].append(job.id)
    for organization_id, job_ids in ids.items():
        tell(session, "jobs replay", organization_id, job_ids=job_ids)
    if not ids:
        tell(session, "jobs replay")
