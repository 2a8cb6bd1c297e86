"""The audit trail: one chain of entries for each organization, and one for what belongs to none."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, LargeBinary
from sqlmodel import Field

from case_orders.row import Row
from models import columns

NO_ORGANIZATION = "none"
"""The chain of what belongs to no organization."""


class AuditEntry(Row, table=True):
    """What somebody did, as `case_orders.audit` tells it. `position` counts from 1 without gaps.

    `mac` binds the entry to the one before it, under a key derived from the encryption key named `key_id`.
    A chain outlives its organization, so it is no reference to one.
    """

    __tablename__ = "audit_entries"

    chain: str = Field(primary_key=True, max_length=36)
    position: int = Field(primary_key=True, sa_type=BigInteger)
    at: datetime = columns.moment()
    actor: str = Field(max_length=100)
    action: str = Field(max_length=100)
    records: dict[str, Any] = columns.json()
    outcome: str = Field(max_length=100)
    client: str | None = Field(default=None, max_length=45)
    request_id: str | None = Field(default=None, max_length=64)
    key_id: str = Field(max_length=32)
    mac: bytes = Field(sa_type=LargeBinary)


class AuditHead(Row, table=True):
    """The end of a chain. Whoever appends holds this row, so that nobody else does meanwhile."""

    __tablename__ = "audit_heads"

    chain: str = Field(primary_key=True, max_length=36)
    position: int = Field(sa_type=BigInteger)
    mac: bytes = Field(sa_type=LargeBinary)
