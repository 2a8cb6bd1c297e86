"""The database's schema over time. One chain of numbered steps; each step is a transaction of its own."""

from functools import cache
from pathlib import Path

from sqlalchemy import Connection, Engine, inspect, text

# Any constant; processes that migrate the same PostgreSQL at once take turns on it.
_LOCK = 0x0CA5E0DE5


class Newer(Exception):
    """The database is at a step that this version of the code does not know; the text says what to do."""

    def __init__(self) -> None:
        super().__init__(
            "The database is newer than this version of case-orders: "
            "install the newer version, or restore the backup from before the upgrade."
        )


@cache
def revisions() -> frozenset[str]:
    """The number of each step."""
    steps = Path(__file__).with_name("versions").glob("[0-9]*.py")
    return frozenset(step.name.partition("_")[0] for step in steps)


def head() -> str:
    """The newest revision: the number of the last step."""
    return max(revisions())


def revision(connection: Connection) -> str | None:
    """Which revision the database is at; None before the first step."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one_or_none()


def at_head(connection: Connection) -> bool:
    """Whether the database is as this version of the code needs it. Raises `Newer` if it is ahead."""
    found = revision(connection)
    if found is not None and found not in revisions():
        raise Newer
    return found == head()


def upgrade(engine: Engine) -> None:
    """Bring the database to head, or raise `Newer`. Safe to run from several processes at once."""
    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            # A step may take its time, and so may another process that takes it.
            connection.execute(text("SET LOCAL statement_timeout = 0"))
            connection.execute(text("SET LOCAL lock_timeout = 0"))
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
        if not at_head(connection):
            from case_orders.migrations import steps  # seldom needed, and slow to import

            steps.take(connection)
