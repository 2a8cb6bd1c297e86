"""The columns that the tables share."""

from typing import Any

from pydantic import Field as PlainField
from sqlalchemy import JSON
from sqlmodel import Field

from case_orders.db import UtcDateTime, new_id, now
from models.sealing import MARK


def key() -> Any:
    """The table's primary key: a UUID that sorts by its making."""
    return Field(default_factory=new_id, primary_key=True, max_length=36)


def reference(target: str, *, index: bool = True, **options: Any) -> Any:
    """A reference to another table's row; indexed unless a wider index begins with it."""
    return Field(foreign_key=target, index=index, max_length=36, **options)


def moment(**options: Any) -> Any:
    """A point in time, by default the present."""
    return Field(default_factory=now, sa_type=UtcDateTime, **options)


def maybe_moment(**options: Any) -> Any:
    """A point in time that may not have come."""
    return Field(default=None, sa_type=UtcDateTime, **options)


def json(**options: Any) -> Any:
    """A JSON value, kept as text so that it comes back exactly as it went in. Assign it anew; don't change it."""
    return Field(sa_type=JSON(none_as_null=True), **options)


def sealed(**options: Any) -> Any:
    """A JSON value of a `SealedTable` that only the holder of the key can read. Assign it anew; don't change it."""
    return PlainField(json_schema_extra=MARK, **options)
