"""The peers' engine, as the documentation of SQLAlchemy has it, and as durable as that of case-orders."""

import sqlite3
from typing import Any

from sqlalchemy import Connection, Engine, event
from sqlmodel import create_engine


def make_engine(url: str) -> Engine:
    """An engine for `url`; on SQLite, where it begins with its execution option `begin`, by default `BEGIN`."""
    engine = create_engine(url)
    if engine.dialect.name == "sqlite":

        @event.listens_for(engine, "connect")
        def prepare(connection: sqlite3.Connection, _record: object) -> None:
            prepare_sqlite(connection)

        # https://docs.sqlalchemy.org/en/20/dialects/sqlite.html: without it, who reads and then writes is refused at
        # once where another has written meanwhile.
        @event.listens_for(engine, "begin")
        def begin(connection: Connection) -> None:
            connection.exec_driver_sql(connection.get_execution_options().get("begin", "BEGIN"))

    return engine


def prepare_sqlite(connection: sqlite3.Connection) -> None:
    connection.isolation_level = None
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=30000"):
        connection.execute(f"PRAGMA {pragma}")


def writing(engine: Engine) -> Any:
    """The engine for transactions that write."""
    return engine.execution_options(begin="BEGIN IMMEDIATE")
