"""The audit trail as tests look at it."""

from collections.abc import Sequence

from sqlmodel import col, select

from case_orders.db import Database
from models import AuditEntry
from models.audit import NO_ORGANIZATION


def entries(database: Database, chain: str = NO_ORGANIZATION) -> Sequence[AuditEntry]:
    """The entries of a chain, in their order."""
    with database.snapshot() as session:
        query = select(AuditEntry).where(AuditEntry.chain == chain)
        return session.exec(query.order_by(col(AuditEntry.position))).all()
