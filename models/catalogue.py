"""What an organization may order, and where."""

from datetime import datetime
from typing import Any

from sqlalchemy import UniqueConstraint
from sqlmodel import Field

from case_orders.envelope import without_none
from case_orders.row import Row
from models import columns
from models.sealing import SealedTable


class Pharmacy(SealedTable, table=True):
    """A connection between an organization and a pharmacy. `code` is the id by which orders name it."""

    __tablename__ = "pharmacies"
    __table_args__ = (UniqueConstraint("organization_id", "code"),)

    id: str = columns.key()
    organization_id: str = columns.reference("organizations.id", index=False)
    code: str = Field(max_length=64)
    name: str = Field(max_length=100)
    base_url: str = Field(max_length=2000)
    request_secret: str = columns.sealed()
    report_secret: str = columns.sealed()
    accepts_controlled_substances: bool = False
    created_at: datetime = columns.moment()

    def as_json(self) -> dict[str, Any]:
        return {"id": self.code, "name": self.name, "acceptsControlledSubstances": self.accepts_controlled_substances}


class Drug(Row, table=True):
    """A drug in an organization's catalogue. `code` is the id by which prescription items name it."""

    __tablename__ = "drugs"

    organization_id: str = columns.reference("organizations.id", index=False, primary_key=True)
    code: str = Field(primary_key=True, max_length=64)
    name: str = Field(max_length=200)
    strength: str | None = Field(default=None, max_length=100)
    form: str | None = Field(default=None, max_length=100)
    ndc: str | None = Field(default=None, max_length=14)
    rxcui: str | None = Field(default=None, max_length=10)
    schedule: str | None = Field(default=None, max_length=3)

    def as_json(self) -> dict[str, Any]:
        return without_none(
            id=self.code,
            name=self.name,
            strength=self.strength,
            form=self.form,
            ndc=self.ndc,
            rxcui=self.rxcui,
            schedule=self.schedule,
        )
