"""What pharmacies reported, as it came: kept once per message, applied by a worker."""

from datetime import datetime
from typing import Any

from sqlmodel import Field

from case_orders.db import new_id
from models import columns
from models.sealing import SealedTable


class PharmacyReport(SealedTable, table=True):
    """`message_id` is the pharmacy's `webhook-id`; a repeated message meets its own row. `outcome` says what it did."""

    __tablename__ = "pharmacy_reports"

    pharmacy_id: str = columns.reference("pharmacies.id", index=False, primary_key=True)
    message_id: str = Field(primary_key=True, max_length=64)
    id: str = Field(default_factory=new_id, unique=True, max_length=36)
    order_id: str = columns.reference("orders.id")
    body: dict[str, Any] = columns.sealed()
    received_at: datetime = columns.moment()
    outcome: str | None = Field(default=None, max_length=40)
