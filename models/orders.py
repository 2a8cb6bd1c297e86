"""Orders as they were placed, and how far they have come."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any, ClassVar

from sqlalchemy import Index
from sqlmodel import Field, Session

from case_orders.envelope import JSON, without_none
from case_orders.lookups import Lookup
from case_orders.shared_session import Ask
from models import columns
from models.order_states import OrderState
from models.sealing import SealedTable


class DocumentStatus(StrEnum):
    """The contract's DocumentStatus."""

    PENDING = "PENDING"
    STORED = "STORED"
    FAILED = "FAILED"


_SUMMARY = {
    "id": "id",
    "caseId": "case_id",
    "pharmacyId": "pharmacy_code",
    "status": "status",
    "documentStatus": "document_status",
    "createdAt": "created_at",
    "updatedAt": "updated_at",
}


class Order(SealedTable, table=True):
    """A medication order. Its state changes only through `case_orders.progress`.

    It holds the patient as the case had it when the order was placed: what was checked is what is submitted.

    `furthest` is how far it came on the way to COMPLETED; after a hold or a denied cancel it goes on from there.
    `resume` is where it goes on if a cancel is denied.
    `sent` is whether the pharmacy may know of it: set before the first attempt to submit; `sent_at` is when the last
    one began.
    `cancel_requested` is whether the pharmacy has yet to answer a cancel request.
    `reported_at` and `tracking_reported_at` are when the latest happened that the pharmacy told of its state and of its
    tracking.
    """

    __tablename__ = "orders"
    __table_args__ = (
        Index("ix_orders_organization_id_id", "organization_id", "id"),
        Index("ix_orders_organization_id_status_id", "organization_id", "status", "id"),
        Index("ix_orders_status_id", "status", "id"),
        Index("ix_orders_case_id_id", "case_id", "id"),
    )

    id: str = columns.key()
    organization_id: str = columns.reference("organizations.id", index=False)
    case_id: str = columns.reference("cases.id", index=False)
    pharmacy_id: str = columns.reference("pharmacies.id", index=False)
    pharmacy_code: str = Field(max_length=64)

    patient: dict[str, Any] = columns.sealed()
    shipping_address: dict[str, Any] = columns.sealed()
    patient_health_info: dict[str, Any] | None = columns.sealed(default=None)
    prescriber: dict[str, Any] = columns.sealed()
    diagnosis: str = columns.sealed()
    date_written: str | None = columns.sealed(default=None)
    date_signed: str | None = columns.sealed(default=None)
    date_prescribed: str | None = columns.sealed(default=None)
    warnings: list[Any] = columns.json(default_factory=list)

    status: OrderState = Field(default=OrderState.RECEIVED, max_length=20)
    furthest: OrderState = Field(default=OrderState.RECEIVED, max_length=20)
    document_status: DocumentStatus = Field(default=DocumentStatus.PENDING, max_length=10)
    sent: bool = False
    sent_at: datetime | None = columns.maybe_moment()
    cancel_requested: bool = False
    resume: OrderState | None = Field(default=None, max_length=20)
    pharmacy_reference: str | None = columns.sealed(default=None)
    tracking_number: str | None = columns.sealed(default=None)
    carrier: str | None = columns.sealed(default=None)
    reported_at: datetime | None = columns.maybe_moment()
    tracking_reported_at: datetime | None = columns.maybe_moment()
    last_sequence: int = 0
    created_at: datetime = columns.moment()
    updated_at: datetime = columns.moment()

    SUMMARIZED: ClassVar[tuple[str, ...]] = tuple(_SUMMARY.values())
    """The columns of `summary_of`."""

    @staticmethod
    def summary_of(columns: Sequence[Any]) -> JSON:
        """The contract's OrderSummary of the values of the columns `SUMMARIZED`."""
        return dict(zip(_SUMMARY, columns, strict=True))

    def summary(self) -> JSON:
        """The contract's OrderSummary."""
        return {name: getattr(self, attribute) for name, attribute in _SUMMARY.items()}

    @staticmethod
    def asks(order_id: str) -> Iterator[Ask]:
        """What `as_json` will look up."""
        yield _ITEMS.ask(order_id)
        yield _HISTORY.ask(order_id)

    def as_json(self, session: Session) -> JSON:
        """The contract's Order."""
        return self.summary() | without_none(
            shippingAddress=self.shipping_address,
            patientHealthInfo=self.patient_health_info,
            prescriber=self.prescriber,
            diagnosis=self.diagnosis,
            dateWritten=self.date_written,
            dateSigned=self.date_signed,
            datePrescribed=self.date_prescribed,
            prescriptionItems=_in_order(_ITEMS.all(session, self.id)),
            statusHistory=_in_order(_HISTORY.all(session, self.id)),
            pharmacyReference=self.pharmacy_reference,
            trackingNumber=self.tracking_number,
            carrier=self.carrier,
            warnings=self.warnings,
        )


class PrescriptionItem(SealedTable, table=True):
    """One drug of an order; `position` counts from 0. `drug` is what the catalogue said of it when it was placed."""

    __tablename__ = "prescription_items"

    order_id: str = columns.reference("orders.id", index=False, primary_key=True)
    position: int = Field(primary_key=True)
    drug_code: str = Field(max_length=64)
    drug: dict[str, Any] = columns.sealed()
    direction: str | None = columns.sealed(default=None)
    quantity: str = Field(max_length=20)
    refill_count: int | None = None
    supply_days: int | None = None
    custom_fields: dict[str, Any] | None = columns.sealed(default=None)

    def as_json(self) -> JSON:
        return without_none(
            drugId=self.drug_code,
            direction=self.direction,
            quantity=self.quantity,
            refillCount=self.refill_count,
            supplyDays=self.supply_days,
            customFields=self.custom_fields,
        )


class StatusChange(SealedTable, table=True):
    """A state that an order came to; `position` is the `sequence` of the event that tells of it, and grows."""

    __tablename__ = "status_changes"

    order_id: str = columns.reference("orders.id", index=False, primary_key=True)
    position: int = Field(primary_key=True)
    status: OrderState = Field(max_length=20)
    reason: str | None = columns.sealed(default=None)
    at: datetime = columns.moment()

    def as_json(self) -> JSON:
        return without_none(status=self.status, at=self.at, reason=self.reason)


_ITEMS = Lookup(PrescriptionItem, "order_id")
_HISTORY = Lookup(StatusChange, "order_id")


def _in_order(parts: Sequence[PrescriptionItem] | Sequence[StatusChange]) -> list[JSON]:
    return [part.as_json() for part in sorted(parts, key=lambda part: part.position)]
