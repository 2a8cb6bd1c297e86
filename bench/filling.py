"""Databases with orders in them: some that were placed, and many copies of those, by SQL under ids of their own.

Copies are older than any real order, and their sealed values do not open: they make tables and indexes grow, and lists
show them. Jobs, which are gone once an order is done, are not copied; answers that are kept for repeats are.
"""

from collections.abc import Sequence
from typing import Any

from bench import cpu, databases, load
from bench.databases import Databases
from bench.programs import Program, Stage
from bench.world import Tenant, placements

# Whose id each table's rows hold, and what else must be unique in them.
_TABLES = {"orders": "id", "prescription_items": "order_id", "status_changes": "order_id", "events": "order_id"}
_ANSWERS = "idempotent_answers"
# Ids of copies come in no order: without room for their indexes in memory a million would take half an hour.
_HASTE = {
    "sqlite": ("PRAGMA synchronous=OFF", "PRAGMA cache_size=-2000000"),
    "postgresql": ("SET session_replication_role = replica",),
}
_STEP = 25
_WIDTH = 100_000


def place(stage: Stage, program: Program, tenants: Sequence[Tenant], at_least: int) -> None:
    """Have the program take so many orders of these organizations, over 32 connections."""
    requests = load.prepare(stage.folder / f"{program.name}-{program.port}-fill", placements(tenants))
    while min(databases.rows(stage.databases, program.database_url)) < at_least:
        load.run(program.port, requests, connections=32)
    cpu.settle(program.pid)


def multiply(made: Databases, url: str, at_least: int) -> None:
    """Copy every order so often that `at_least` are stored."""
    connection = made.connect(url)
    lite = made.kind == "sqlite"
    for command in _HASTE[made.kind]:
        connection.execute(command)
    numbered = "SELECT id, row_number() OVER (ORDER BY id) AS n FROM orders"
    connection.execute(f"CREATE TEMPORARY TABLE originals AS {numbered}")
    connection.execute(f"CREATE TEMPORARY TABLE original_answers AS SELECT * FROM {_ANSWERS}")
    stored = connection.execute("SELECT count(*) FROM originals").fetchone()[0]
    copies = -(-at_least // stored)
    for first in range(1, copies + 1, _STEP):
        last = min(first + _STEP - 1, copies)
        for table, key in _TABLES.items():
            connection.execute(_copying(connection, table, key, first, last, lite=lite))
        connection.execute(_copying_answers(connection, first, last))
    for command in ("PRAGMA wal_checkpoint(TRUNCATE)",) if lite else ("VACUUM ANALYZE", "CHECKPOINT"):
        connection.execute(command)
    connection.close()


def _copying(connection: Any, table: str, key: str, first: int, last: int, *, lite: bool) -> str:
    """The statement that writes copies `first` to `last` of a table's rows."""
    columns = _columns(connection, table)
    number = f"(k * {_WIDTH} + n)"
    tail = f"printf('%012x', {number})" if lite else f"lpad(to_hex({number}), 12, '0')"
    fresh = f"'01900000-0000-7000-8000-' || {tail}"
    changed = {"id": fresh, key: fresh} | ({"position": f"o.position + k * {_WIDTH}"} if table == "events" else {})
    values = ", ".join(changed.get(column, f'o."{column}"') for column in columns)
    return (
        f"{_copies(first, last)} INSERT INTO {table} ({', '.join(columns)}) "
        f"SELECT {values} FROM copies CROSS JOIN originals p JOIN {table} o ON o.{key} = p.id"
    )


def _copying_answers(connection: Any, first: int, last: int) -> str:
    """The statement that writes copies `first` to `last` of the answers, each under a key of its own."""
    columns = _columns(connection, _ANSWERS)
    values = ", ".join("key || '-' || k" if column == "key" else column for column in columns)
    return (
        f"{_copies(first, last)} INSERT INTO {_ANSWERS} ({', '.join(columns)}) "
        f"SELECT {values} FROM copies CROSS JOIN original_answers"
    )


def _copies(first: int, last: int) -> str:
    return f"WITH RECURSIVE copies(k) AS (SELECT {first} UNION ALL SELECT k + 1 FROM copies WHERE k < {last})"


def _columns(connection: Any, table: str) -> list[str]:
    return [column[0] for column in connection.execute(f"SELECT * FROM {table} LIMIT 0").description]
