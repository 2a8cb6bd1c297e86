"""Cases: one patient's course of treatment each."""

from datetime import datetime
from typing import Any

from sqlalchemy import UniqueConstraint
from sqlmodel import Field

from case_orders.envelope import without_none
from models import columns
from models.sealing import SealedTable


class Case(SealedTable, table=True):
    """`patient` is the contract's Patient; `reference` is the organization's own identifier."""

    __tablename__ = "cases"
    __table_args__ = (UniqueConstraint("organization_id", "reference"),)

    id: str = columns.key()
    organization_id: str = columns.reference("organizations.id")
    reference: str | None = Field(default=None, max_length=100)
    patient: dict[str, Any] = columns.sealed()
    last_position: int = 0
    created_at: datetime = columns.moment()

    def as_json(self) -> dict[str, Any]:
        return without_none(id=self.id, reference=self.reference, patient=self.patient, createdAt=self.created_at)
