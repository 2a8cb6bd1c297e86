"""How a database means to run a statement, and which growing tables it would read from end to end for it."""

import json
import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Engine, event
from sqlmodel import SQLModel

# What an operator sets up. All other tables grow with the orders.
SET_UP = {"organizations", "api_keys", "pharmacies", "webhooks", "drugs"}


def growing() -> set[str]:
    """The tables that no statement may read from end to end."""
    return set(SQLModel.metadata.tables) - SET_UP


@contextmanager
def recording() -> Iterator[dict[str, Any]]:
    """Every statement on rows that this process executes meanwhile, with the parameters of its first execution."""
    statements: dict[str, Any] = {}

    def record(_connection: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, many: bool) -> None:
        if re.match(r"(SELECT|INSERT|UPDATE|DELETE|WITH)\b", statement):
            statements.setdefault(statement, parameters[0] if many else parameters)

    event.listen(Engine, "before_cursor_execute", record)
    try:
        yield statements
    finally:
        event.remove(Engine, "before_cursor_execute", record)


@contextmanager
def statements(connection: Connection | Engine, beginning: str = "") -> Iterator[list[str]]:
    """What is executed on a connection meanwhile, each time, and begins so."""
    seen: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        if statement.startswith(beginning):
            seen.append(statement)

    event.listen(connection, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(connection, "before_cursor_execute", note)


def scanned(connection: Connection, statement: str, parameters: Any, tables: Collection[str] | None = None) -> set[str]:
    """Those `tables`, by default all that grow, of which the plan of a statement reads every row.

    To walk along an index until a LIMIT is reached reads a few rows only, as long as nothing filters them.
    """
    explain = _scanned_by_sqlite if connection.dialect.name == "sqlite" else _scanned_by_postgresql
    found = set(explain(connection, statement, parameters))
    return found & (growing() if tables is None else set(tables))


def _scanned_by_sqlite(connection: Connection, statement: str, parameters: Any) -> Iterator[str]:
    """https://www.sqlite.org/eqp.html: SCAN reads every row, SEARCH a subset."""
    for *_, detail in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters):
        found = re.match(r"SCAN (\w+)( USING (COVERING )?INDEX)?", detail)
        if found and not (found[2] and _is_unfiltered(found[1], statement)):
            yield found[1]


def _is_unfiltered(table: str, statement: str) -> bool:
    return "LIMIT" in statement and not re.search(rf"FROM {table}\b[^()]*WHERE", statement)


def _scanned_by_postgresql(connection: Connection, statement: str, parameters: Any) -> Iterator[str]:
    """https://www.postgresql.org/docs/current/using-explain.html."""
    (plan,) = connection.exec_driver_sql(f"EXPLAIN (FORMAT JSON) {statement}", parameters).one()
    for root in plan if isinstance(plan, list) else json.loads(plan):
        yield from _scans(root["Plan"], limited=False)


def _scans(node: dict[str, Any], *, limited: bool) -> Iterator[str]:
    limited = node["Node Type"] == "Limit" or (limited and node["Node Type"] != "Sort")
    reads_all = "Index Cond" not in node and "Recheck Cond" not in node
    is_walk = limited and node["Node Type"].startswith("Index") and "Filter" not in node
    if "Relation Name" in node and reads_all and not is_walk and node["Node Type"].endswith("Scan"):
        yield node["Relation Name"]
    for child in node.get("Plans", ()):
        yield from _scans(child, limited=limited)
