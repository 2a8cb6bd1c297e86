"""Events: what happened to a case, for its timeline and for webhooks."""

from datetime import datetime
from typing import Any

from sqlalchemy import UniqueConstraint
from sqlmodel import Field

from case_orders.envelope import JSON, without_none
from models import columns
from models.row import Row


class Event(Row, table=True):
    """`position` counts the events of a case, `sequence` those of an order, both from 1 without gaps.

    `data` holds identifiers and states only, never health data. A test event belongs to no case.
    """

    __tablename__ = "events"
    __table_args__ = (UniqueConstraint("case_id", "position"), UniqueConstraint("order_id", "sequence"))

    id: str = columns.key()
    organization_id: str = columns.reference("organizations.id", index=False)
    case_id: str | None = columns.reference("cases.id", index=False, default=None, nullable=True)
    position: int | None = None
    order_id: str | None = columns.reference("orders.id", index=False, default=None, nullable=True)
    sequence: int | None = None
    type: str = Field(max_length=40)
    data: dict[str, Any] = columns.json()
    created_at: datetime = columns.moment()

    def as_json(self) -> JSON:
        return without_none(
            id=self.id, type=self.type, createdAt=self.created_at, sequence=self.sequence, data=self.data
        )
