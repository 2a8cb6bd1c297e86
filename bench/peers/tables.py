"""The tables of case-orders as the peers have them: the same rows and indexes, health data in plain JSON columns."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import JSON, DateTime, Index, UniqueConstraint
from sqlalchemy.orm import registry
from sqlmodel import Field, SQLModel
from uuid_utils import uuid7


def _id() -> Any:
    return Field(default_factory=lambda: str(uuid7()), primary_key=True, max_length=36)


def _moment(**options: Any) -> Any:
    return Field(default_factory=lambda: datetime.now(UTC), sa_type=DateTime(timezone=True), **options)


def _json(**options: Any) -> Any:
    return Field(sa_type=JSON, **options)


class Table(SQLModel, registry=registry()):
    """Beside the product's own tables, whose names these share."""


class Organization(Table, table=True):
    __tablename__ = "organizations"

    id: str = _id()
    name: str = Field(unique=True)
    refuse_wrong_npi: bool = False


class ApiKey(Table, table=True):
    __tablename__ = "api_keys"

    id: str = _id()
    organization_id: str = Field(foreign_key="organizations.id", index=True)
    sha256: str = Field(unique=True)
    revoked_at: datetime | None = Field(default=None, sa_type=DateTime(timezone=True))


class Case(Table, table=True):
    __tablename__ = "cases"

    id: str = _id()
    organization_id: str = Field(foreign_key="organizations.id", index=True)
    patient: dict[str, Any] = _json()
    last_position: int = 0


class Pharmacy(Table, table=True):
    __tablename__ = "pharmacies"
    __table_args__ = (UniqueConstraint("organization_id", "code"),)

    id: str = _id()
    organization_id: str = Field(foreign_key="organizations.id")
    code: str
    accepts_controlled_substances: bool = False


class Drug(Table, table=True):
    __tablename__ = "drugs"

    organization_id: str = Field(foreign_key="organizations.id", primary_key=True)
    code: str = Field(primary_key=True)
    name: str
    strength: str | None = None
    schedule: str | None = None


class Webhook(Table, table=True):
    __tablename__ = "webhooks"

    id: str = _id()
    organization_id: str = Field(foreign_key="organizations.id", index=True)
    events: list[Any] = _json()
    active: bool = True


class Order(Table, table=True):
    __tablename__ = "orders"
    __table_args__ = (
        Index("ix_orders_organization_id_id", "organization_id", "id"),
        Index("ix_orders_organization_id_status_id", "organization_id", "status", "id"),
        Index("ix_orders_case_id_id", "case_id", "id"),
    )

    id: str = _id()
    organization_id: str = Field(foreign_key="organizations.id")
    case_id: str = Field(foreign_key="cases.id")
    pharmacy_id: str = Field(foreign_key="pharmacies.id")
    pharmacy_code: str
    patient: dict[str, Any] = _json()
    shipping_address: dict[str, Any] = _json()
    patient_health_info: dict[str, Any] | None = _json(default=None)
    prescriber: dict[str, Any] = _json()
    diagnosis: str
    date_written: str | None = None
    date_signed: str | None = None
    date_prescribed: str | None = None
    warnings: list[Any] = _json(default_factory=list)
    status: str = "RECEIVED"
    document_status: str = "PENDING"
    created_at: datetime = _moment()
    updated_at: datetime = _moment()


class PrescriptionItem(Table, table=True):
    __tablename__ = "prescription_items"

    order_id: str = Field(foreign_key="orders.id", primary_key=True)
    position: int = Field(primary_key=True)
    drug_code: str
    drug: dict[str, Any] = _json()
    direction: str | None = None
    quantity: str
    refill_count: int | None = None
    supply_days: int | None = None
    custom_fields: dict[str, Any] | None = _json(default=None)


class StatusChange(Table, table=True):
    __tablename__ = "status_changes"

    order_id: str = Field(foreign_key="orders.id", primary_key=True)
    position: int = Field(primary_key=True)
    status: str
    at: datetime = _moment()


class Event(Table, table=True):
    __tablename__ = "events"
    __table_args__ = (UniqueConstraint("case_id", "position"), UniqueConstraint("order_id", "sequence"))

    id: str = _id()
    organization_id: str = Field(foreign_key="organizations.id")
    case_id: str = Field(foreign_key="cases.id")
    position: int
    order_id: str = Field(foreign_key="orders.id")
    sequence: int
    type: str
    data: dict[str, Any] = _json()
    created_at: datetime = _moment()


class Job(Table, table=True):
    __tablename__ = "jobs"
    __table_args__ = (Index("ix_jobs_state_due_at", "state", "due_at"),)

    id: str = _id()
    organization_id: str = Field(foreign_key="organizations.id")
    kind: str
    subject: str = Field(index=True)
    destination: str
    state: str = "WAITING"
    due_at: datetime = _moment()
    attempt: int = 0
    created_at: datetime = _moment()


class IdempotentAnswer(Table, table=True):
    __tablename__ = "idempotent_answers"

    organization_id: str = Field(foreign_key="organizations.id", primary_key=True)
    operation: str = Field(primary_key=True)
    key: str = Field(primary_key=True)
    fingerprint: str
    answer: dict[str, Any] = _json()
    created_at: datetime = _moment(index=True)
