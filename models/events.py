"""Events: what happened to a case, for its timeline and for webhooks."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, UniqueConstraint, bindparam, select, update
from sqlmodel import Field, col

from case_orders.envelope import JSON, without_none
from case_orders.row import Row
from case_orders.shared_session import before_insert
from models import columns
from models.cases import Case


class Event(Row, table=True):
    """`position` counts the events of a case, `sequence` those of an order, both from 1 without gaps.

    An event has its position from when it is written.
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


_THESE = select(col(Case.id)).where(col(Case.id).in_(bindparam("cases", expanding=True)))
_COUNT = (
    update(Case)
    # In one order: two that count for the same cases wait for each other in one direction only.
    .where(col(Case.id).in_(_THESE.order_by(col(Case.id)).with_for_update(key_share=True)))
    .values(last_position=Case.last_position + 1)
    .returning(col(Case.id), col(Case.last_position))
)


@before_insert(Event)
def number(connection: Connection, events: Sequence[Event]) -> None:
    """Give events the next positions of their cases: counted in the database, where others count too."""
    for turn in _turns(events):
        for case_id, position in connection.execute(_COUNT, {"cases": list(turn)}):
            turn[case_id].position = position


def _turns(events: Sequence[Event]) -> list[dict[str, Event]]:
    """By its case the first event of each, then the second of those that have one, and so on."""
    turns: list[dict[str, Event]] = []
    seen = Counter[str]()
    for event in events:
        if event.case_id is not None:
            if seen[event.case_id] == len(turns):
                turns.append({})
            turns[seen[event.case_id]][event.case_id] = event
            seen[event.case_id] += 1
    return turns
