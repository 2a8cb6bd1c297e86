"""Alembic takes the steps. It is slow to import, and a process whose database is at head does without it."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection


def config(connection: Connection) -> Config:
    """Alembic's configuration; there is no alembic.ini."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.attributes["connection"] = connection
    return config


def take(connection: Connection) -> None:
    """Every step from where the database is to head."""
    command.upgrade(config(connection), "head")
