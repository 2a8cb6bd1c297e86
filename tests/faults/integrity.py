"""The database's own check of itself: every page of every table, every index against its table, every reference."""

from collections.abc import Iterator

from sqlalchemy import Connection, text
from sqlalchemy.exc import DatabaseError

from case_orders.db import Database

# https://www.postgresql.org/docs/current/amcheck.html
_RELATIONS = "SELECT oid, relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = :kind"


def check(database: Database) -> list[str]:
    """What is wrong with the database; no value of it is named."""
    try:
        with database.engine.connect() as connection:
            return list(_sqlite(connection) if database.is_sqlite else _postgresql(connection))
    except DatabaseError as error:
        return [f"the database cannot be read: {type(error.orig).__name__}"]


def _sqlite(connection: Connection) -> Iterator[str]:
    yield from (line for (line,) in connection.execute(text("PRAGMA integrity_check")) if line != "ok")
    yield from (f"{row[0]} refers to nothing" for row in connection.execute(text("PRAGMA foreign_key_check")))


def _postgresql(connection: Connection) -> Iterator[str]:
    connection.execute(text("CREATE EXTENSION amcheck"))  # gone again with this transaction
    for oid, name in connection.execute(text(_RELATIONS), {"kind": "r"}).all():
        damage = connection.execute(text("SELECT msg FROM verify_heapam(:oid)"), {"oid": oid}).all()
        yield from (f"{name}: {message}" for (message,) in damage)
    for oid, _ in connection.execute(text(_RELATIONS), {"kind": "i"}).all():
        connection.execute(text("SELECT bt_index_check(:oid, true)"), {"oid": oid})
