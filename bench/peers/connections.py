"""The raw peers' connections, as durable as those of case-orders: a commit that was answered is on the disk."""

import sqlite3
from collections.abc import Callable
from typing import Any

import psycopg
from sqlalchemy import make_url

from bench.peers.engine import prepare_sqlite
from bench.peers.statements import Placing, run

Place = Callable[[Placing], str | None]


def open_sqlite(url: str) -> Place:
    """A way to run placements, each in a transaction of its own."""
    connection = sqlite3.connect(str(make_url(url).database), cached_statements=256)
    prepare_sqlite(connection)

    def place(steps: Placing) -> str | None:
        connection.execute("BEGIN IMMEDIATE")
        try:
            order = run(steps, connection.execute)
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")
        return order

    return place


def open_postgresql(url: str) -> Place:
    """The same; statements are prepared on the server from their first use."""
    connection = psycopg.connect(url.replace("postgresql+psycopg:", "postgresql:"), prepare_threshold=0)

    def execute(statement: str, values: tuple[Any, ...]) -> Any:
        return connection.execute(statement.replace("?", "%s"), values)

    def place(steps: Placing) -> str | None:
        with connection.transaction():
            return run(steps, execute)

    return place


def opener(url: str) -> Callable[[], Place]:
    """Opens connections to `url`."""
    return lambda: open_sqlite(url) if url.startswith("sqlite") else open_postgresql(url)
