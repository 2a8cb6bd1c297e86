"""What Alembic runs: on the connection that `case_orders.migrations.steps` hands over."""

from typing import Any, Literal

from alembic import context
from sqlmodel import SQLModel
from sqlmodel.sql.sqltypes import AutoString

import models  # noqa: F401  registers the tables
from case_orders.db import UtcDateTime


def short(_kind: str, column_type: Any, _context: Any) -> str | Literal[False]:
    """How a migration writes our column types."""
    if isinstance(column_type, AutoString):
        return f"sa.String(length={column_type.length})"
    return "UtcDateTime()" if isinstance(column_type, UtcDateTime) else False


context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=SQLModel.metadata,
    render_as_batch=True,
    compare_type=True,
    render_item=short,
)
with context.begin_transaction():
    context.run_migrations()
