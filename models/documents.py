"""Prescription documents: what a pharmacy named, and what was stored of it."""

from datetime import datetime
from typing import Any

from sqlalchemy import UniqueConstraint
from sqlmodel import Field

from case_orders.envelope import JSON
from models import columns
from models.sealing import SealedTable


class Document(SealedTable, table=True):
    """A document that a pharmacy named under `source_id`. It exists for others once `stored_at` is set."""

    __tablename__ = "documents"
    __table_args__ = (UniqueConstraint("order_id", "source_id"),)

    id: str = columns.key()
    organization_id: str = columns.reference("organizations.id", index=False)
    order_id: str = columns.reference("orders.id", index=False)
    source_id: str = Field(max_length=64)
    source_url: str = columns.sealed()
    expected_sha256: str | None = Field(default=None, max_length=64)
    file_name: str = columns.sealed()
    content_type: str = Field(default="application/pdf", max_length=100)
    size: int | None = None
    sha256: str | None = Field(default=None, max_length=64)
    failure: str | None = Field(default=None, max_length=500)
    created_at: datetime = columns.moment()
    stored_at: datetime | None = columns.maybe_moment()

    @property
    def storage_key(self) -> str:
        """Its place in the document store."""
        return f"{self.organization_id}/{self.order_id}/{self.id}.pdf"

    def as_json(self) -> JSON:
        """The contract's Document; only for one that is stored."""
        fields: dict[str, Any] = {
            "id": self.id,
            "fileName": self.file_name,
            "contentType": self.content_type,
            "size": self.size,
            "sha256": self.sha256,
            "createdAt": self.stored_at,
        }
        return fields
