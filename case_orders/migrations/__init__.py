"""The database's schema over time. One chain of numbered steps; each step is a transaction of its own."""

from functools import cache
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, text

# Any constant; processes that migrate the same PostgreSQL at once take turns on it.
_LOCK = 0x0CA5E0DE5


def config() -> Config:
    """Alembic's configuration; there is no alembic.ini."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    return config


@cache
def heads() -> frozenset[str]:
    """The newest revisions; more than one is a mistake."""
    return frozenset(ScriptDirectory.from_config(config()).get_heads())


def at_head(connection: Connection) -> bool:
    """Whether the database is as this version of the code needs it."""
    return set(MigrationContext.configure(connection).get_current_heads()) == heads()


def upgrade(engine: Engine) -> None:
    """Bring the database to head. Safe to run from several processes at once."""
    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            # A step may take its time, and so may another process that takes it.
            connection.execute(text("SET LOCAL statement_timeout = 0"))
            connection.execute(text("SET LOCAL lock_timeout = 0"))
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
        alembic = config()
        alembic.attributes["connection"] = connection
        command.upgrade(alembic, "head")
