"""Many rows in every growing table, so that a planner has a reason to use an index."""

from datetime import timedelta
from typing import Any

from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    ColumnElement,
    Engine,
    Enum,
    Integer,
    LargeBinary,
    String,
    cast,
    insert,
    literal,
    select,
    text,
)
from sqlmodel import AutoString, SQLModel

from case_orders.db import now
from tests.support.plans import SET_UP

ROWS = 5_000
SET_UP_ROWS = 50


def fill(engine: Engine) -> None:
    """Fill the tables, row n of each belonging to row n of the others, and let the database count them."""
    with engine.begin() as connection:
        for table in SQLModel.metadata.sorted_tables:
            rows = select(literal(0).label("n")).cte("numbers", recursive=True)
            last = (SET_UP_ROWS if table.name in SET_UP else ROWS) - 1
            rows = rows.union_all(select(rows.c.n + 1).where(rows.c.n < last))
            values = {column.name: _value(column, rows.c.n) for column in table.columns if _is_needed(column)}
            connection.execute(insert(table).from_select(list(values), select(*values.values())))
    analyze(engine)


def analyze(engine: Engine) -> None:
    """Have PostgreSQL count its rows. SQLite is not asked to: where the product runs nobody does it either."""
    if engine.dialect.name == "postgresql":
        with engine.begin() as connection:
            connection.execute(text("ANALYZE"))


def _is_needed(column: Column[Any]) -> bool:
    return not column.nullable or bool(column.foreign_keys) or isinstance(column.type, Integer)


def _value(column: Column[Any], n: ColumnElement[int]) -> ColumnElement[Any]:
    """The value of a column in row `n`. What is due is due tomorrow, so that no worker takes it."""
    for key in column.foreign_keys:
        n = n % SET_UP_ROWS if key.column.table.name in SET_UP else n
    match column.type:
        case Enum(enums=[name, *_]):
            return cast(literal(name), column.type)
        case AutoString():
            return cast(n, String)
        case Integer():
            return n
        case Boolean():
            return literal(False)
        case LargeBinary():
            return literal(b"", column.type)
        case JSON():
            return literal([], column.type)
    return literal(now() + timedelta(days=column.name == "due_at"), column.type)
