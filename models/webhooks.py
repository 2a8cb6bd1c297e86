"""Webhooks, the messages sent to them, and every attempt to send one."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Index
from sqlmodel import Field

from case_orders.envelope import JSON, without_none
from case_orders.row import Row
from models import columns
from models.sealing import SealedTable


class Webhook(SealedTable, table=True):
    """Where an organization wants to be told of which kinds of event, and how much.

    The secret before the last rotation signs too until `previous_secret_until`.
    """

    __tablename__ = "webhooks"

    id: str = columns.key()
    organization_id: str = columns.reference("organizations.id")
    url: str = columns.sealed()
    events: list[Any] = columns.json()
    description: str | None = Field(default=None, max_length=100)
    data_mode: str = Field(default="IDS", max_length=4)
    document_mode: str = Field(default="NONE", max_length=6)
    secret: str = columns.sealed()
    previous_secret: str | None = columns.sealed(default=None)
    previous_secret_until: datetime | None = columns.maybe_moment()
    active: bool = True
    inactive_reason: str | None = Field(default=None, max_length=200)
    failing_since: datetime | None = columns.maybe_moment()
    failed_at: datetime | None = columns.maybe_moment()
    created_at: datetime = columns.moment()

    def secrets_at(self, moment: datetime) -> list[str]:
        """The secrets that sign a message sent at `moment`, the newest first."""
        if self.previous_secret and self.previous_secret_until and moment < self.previous_secret_until:
            return [self.secret, self.previous_secret]
        return [self.secret]

    def as_json(self) -> JSON:
        return without_none(
            id=self.id,
            url=self.url,
            events=self.events,
            description=self.description,
            dataMode=self.data_mode,
            documentMode=self.document_mode,
            active=self.active,
            inactiveReason=self.inactive_reason,
            createdAt=self.created_at,
        )


class DeliveryStatus(StrEnum):
    """The contract's DeliveryStatus."""

    PENDING = "PENDING"
    DELIVERED = "DELIVERED"
    FAILED = "FAILED"


class Delivery(Row, table=True):
    """One event for one webhook."""

    __tablename__ = "deliveries"
    __table_args__ = (
        Index("ix_deliveries_webhook_id_id", "webhook_id", "id"),
        Index("ix_deliveries_webhook_id_status_id", "webhook_id", "status", "id"),
        Index("ix_deliveries_status_id", "status", "id"),
    )

    id: str = columns.key()
    webhook_id: str = columns.reference("webhooks.id", index=False, ondelete="CASCADE")
    event_id: str = columns.reference("events.id")
    event_type: str = Field(max_length=40)
    status: DeliveryStatus = Field(default=DeliveryStatus.PENDING, max_length=10)
    next_attempt_at: datetime | None = columns.maybe_moment()
    created_at: datetime = columns.moment()

    def as_json(self, attempts: "list[Attempt]") -> JSON:
        return without_none(
            id=self.id,
            eventId=self.event_id,
            eventType=self.event_type,
            status=self.status,
            attempts=[attempt.as_json() for attempt in attempts],
            nextAttemptAt=self.next_attempt_at,
            createdAt=self.created_at,
        )


class Attempt(Row, table=True):
    """One attempt at a delivery: when, what the endpoint answered, how long it took, what that means."""

    __tablename__ = "delivery_attempts"

    id: str = columns.key()
    delivery_id: str = columns.reference("deliveries.id", ondelete="CASCADE")
    at: datetime = columns.moment()
    status_code: int | None = None
    duration_ms: int = 0
    outcome: str = Field(max_length=200)

    def as_json(self) -> JSON:
        return without_none(at=self.at, statusCode=self.status_code, durationMs=self.duration_ms, outcome=self.outcome)
