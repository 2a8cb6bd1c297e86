"""Answers that are given again when a request is repeated under the same key."""

from datetime import datetime
from typing import Any

from sqlmodel import Field

from models import columns
from models.sealing import SealedTable


class IdempotentAnswer(SealedTable, table=True):
    """The answer to the first request under a key, and the fingerprint of that request."""

    __tablename__ = "idempotent_answers"

    organization_id: str = columns.reference("organizations.id", index=False, primary_key=True)
    operation: str = Field(primary_key=True, max_length=64)
    key: str = Field(primary_key=True, max_length=255)
    fingerprint: str = columns.sealed()
    answer: dict[str, Any] = columns.sealed()
    created_at: datetime = columns.moment(index=True)
