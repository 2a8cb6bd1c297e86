"""The outbox: work that was promised in the same transaction as the row that needs it."""

from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from sqlalchemy import Index
from sqlmodel import Field

from case_orders.row import Row
from models import columns


class JobState(StrEnum):
    """A job is gone when it is done; what remains waits (or is being worked on), or was given up."""

    WAITING = "WAITING"
    DEAD = "DEAD"


class JobKind(StrEnum):
    """What a job does."""

    SUBMIT_ORDER = "submit_order"
    FOLLOW_ORDER = "follow_order"
    APPLY_REPORT = "apply_report"
    CANCEL_ORDER = "cancel_order"
    FETCH_DOCUMENT = "fetch_document"
    DELIVER_WEBHOOK = "deliver_webhook"


SUBJECTS = {
    JobKind.SUBMIT_ORDER: "order_id",
    JobKind.FOLLOW_ORDER: "order_id",
    JobKind.APPLY_REPORT: "report_id",
    JobKind.CANCEL_ORDER: "order_id",
    JobKind.FETCH_DOCUMENT: "document_id",
    JobKind.DELIVER_WEBHOOK: "delivery_id",
}
"""What the id is that a job has as its subject."""


class Job(Row, table=True):
    """One piece of work of a `kind`, about the row whose id is `subject`.

    `due_at` is when it may be claimed. To claim it is to move `due_at` to the end of the lease and to count
    `attempt`; whoever finishes it must hold the attempt that is stored, so that a worker whose lease ran out
    cannot commit.
    """

    __tablename__ = "jobs"
    __table_args__ = (
        Index("ix_jobs_state_due_at", "state", "due_at"),
        Index("ix_jobs_state_kind_destination_due_at", "state", "kind", "destination", "due_at"),
    )

    id: str = columns.key()
    organization_id: str = columns.reference("organizations.id", index=False)
    kind: JobKind = Field(max_length=40)
    subject: str = Field(max_length=36, index=True)
    destination: str = Field(default="", max_length=300)
    state: JobState = Field(default=JobState.WAITING, max_length=10)
    due_at: datetime = columns.moment()
    leased_until: datetime | None = columns.maybe_moment()
    attempt: int = 0
    last_error: str | None = Field(default=None, max_length=500)
    created_at: datetime = columns.moment()


class Claimed(NamedTuple):
    """A job as a worker has it: its `attempt`, under a lease that ends at `leased_until`."""

    id: str
    organization_id: str
    kind: JobKind
    subject: str
    destination: str
    attempt: int
    leased_until: datetime
    last_error: str | None
