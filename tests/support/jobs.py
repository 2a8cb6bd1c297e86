"""Jobs to promise and to claim in tests."""

from collections.abc import Collection
from datetime import timedelta

from case_orders import claims, outbox
from case_orders.db import Database, new_id
from models import Organization
from models.jobs import Claimed, JobKind

MINUTE = timedelta(minutes=1)
EXPIRED = timedelta()


def new_organization(database: Database) -> str:
    """The id of an organization to promise jobs for."""
    with database.transaction() as session:
        session.add(organization := Organization(name="Clinic"))
        return organization.id


def promise(
    database: Database,
    organization_id: str,
    destination: str = "",
    delay: timedelta = timedelta(),
    kind: JobKind = JobKind.SUBMIT_ORDER,
    owner: str | None = None,
) -> str:
    """Enqueue a job; its id."""
    with database.transaction() as session:
        job = outbox.enqueue(session, kind, new_id(), organization_id=owner or organization_id, destination=destination)
        job.due_at += delay
        return job.id


def claim(
    database: Database,
    limit: int = 20,
    lease: timedelta = MINUTE,
    cap: int = 20,
    under_way: Collection[Claimed] = (),
    rounds: claims.Rounds | None = None,
) -> list[Claimed]:
    with database.transaction() as session:
        rounds = {} if rounds is None else rounds
        return claims.claim(session, claims.Limits(limit, cap), lease, rounds, under_way)


def ids(jobs: list[Claimed]) -> list[str]:
    return [job.id for job in jobs]
