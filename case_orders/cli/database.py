"""How commands come to the settings, the database and its rows; whatever is in the way ends the command."""

import os
import pwd
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlmodel import Session, SQLModel

from case_orders import audit, keyring, migrations
from case_orders.cli.console import Exit, fail, say
from case_orders.db import UNAVAILABLE, Database
from case_orders.documents import DocumentStore
from case_orders.errors import describe
from case_orders.keyring import KeysUnusable, SealBroken
from case_orders.migrations import Newer
from case_orders.settings import Settings
from models.audit import NO_ORGANIZATION

Row = TypeVar("Row", bound=SQLModel)


def load_settings(**options: Any) -> Settings:
    """The settings of the environment; an option that was given goes before."""
    try:
        return Settings(**{name: value for name, value in options.items() if value is not None})
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        fail(f"CASE_ORDERS_{str(first['loc'][0]).upper()} is not valid: {first['msg'].removeprefix('Value error, ')}.")


def open_store(settings: Settings) -> DocumentStore:
    """The document store; ends the command if its address will not do."""
    try:
        return DocumentStore.open(settings.document_store)
    except ValueError:
        fail("CASE_ORDERS_DOCUMENT_STORE is not valid.")


@contextmanager
def open_database(settings: Settings | None = None) -> Iterator[Database]:
    """The database; ends the command if it is not there, out of reach or not at head."""
    settings = settings or load_settings()
    with failures_in_words():
        with place_in_words():
            _require_there(settings)
            keyring.install_for(settings, make=False)
        with _open(settings) as database:
            _require_head(database)
            yield database


@contextmanager
def make_database(settings: Settings) -> Iterator[Database]:
    """The database as it is, with its key file; what is missing is made."""
    with failures_in_words():
        with place_in_words():
            made = keyring.install_for(settings)
        if made is not None:
            say(f"A key was made that seals the database and the documents: {made}.")
            say("Back it up now and keep the copy elsewhere: without it nobody can read what is stored.")
        with _open(settings) as database:
            yield database


@contextmanager
def _open(settings: Settings) -> Iterator[Database]:
    with place_in_words():
        database = Database(settings.database_url)
    try:
        yield database
    finally:
        database.dispose()


@contextmanager
def failures_in_words() -> Iterator[None]:
    """End the command with a sentence where the database, or its keys, will not do."""
    try:
        yield
    except KeysUnusable as reason:
        fail(str(reason))
    except Newer as reason:
        fail(str(reason), Exit.UNAVAILABLE)
    except SealBroken:
        fail("A sealed value does not open: its key is not in the ring, or it was changed.")
    except UNAVAILABLE:
        fail("The database is out of reach.", Exit.UNAVAILABLE)
    except IntegrityError:
        fail("Another process changed the same rows meanwhile; run the command again.")
    except DBAPIError as error:
        fail(f"The database refused: {describe(error)}.")


@contextmanager
def place_in_words() -> Iterator[None]:
    """End the command with a sentence where a file or a directory will not do."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            fail(f"Cannot start: {error.strerror}.")
        fail(
            f"Cannot use {error.filename}: {error.strerror}. Run the command as the service's user, with its settings.",
            Exit.UNAVAILABLE,
        )


def require_database(settings: Settings) -> None:
    """Ends the command unless the database is within reach and at head, and its keys are there."""
    with open_database(settings) as database, database.snapshot() as session:
        audit.require_known_key(session)


def _require_there(settings: Settings) -> None:
    """A command that is told a wrong place must leave nothing there: an empty database would hide the mistake."""
    file = settings.database_file
    if file is not None and not _is_there(file):
        fail(f"There is no database at {file}: is CASE_ORDERS_DATA_DIR that of the service?", Exit.UNAVAILABLE)


def _is_there(path: Path) -> bool:
    """Raises OSError if nobody could tell."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def _require_head(database: Database) -> None:
    with database.snapshot() as session:
        if not migrations.at_head(session.connection()):
            fail("The database is not migrated: run case-orders migrate.", Exit.UNAVAILABLE)


@contextmanager
def transaction() -> Iterator[Session]:
    """A session that commits at the end of the block, and undoes everything if the command fails in it.

    What the command did must be told by `tell` within the block.
    """
    with open_database() as database, database.transaction() as session:
        yield session
        if not audit.recorded(session):  # so that no command forgets
            raise TypeError("what a command does must be told in the audit trail")


def tell(session: Session, command: str, organization_id: str = NO_ORGANIZATION, /, **records: object) -> None:
    """Have the audit trail say that `command` was run, by whom and on which records: ids by what they name."""
    audit.record(session, audit.Entry(f"operator:{_login()}", command, "done", organization_id, records))


def _login() -> str:
    """Who runs the command: by sudo, if that is how the service's user was become."""
    user = os.environ.get("SUDO_USER", "")
    if re.fullmatch(r"[A-Za-z0-9._@-]{1,64}", user):
        return user
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a user without a name, as containers have them
        return str(os.getuid())


@contextmanager
def snapshot() -> Iterator[Session]:
    """A session for a command that only looks: whoever writes meanwhile is not held up."""
    with open_database() as database, database.snapshot() as session:
        yield session


def get(session: Session, table: type[Row], key: str, noun: str) -> Row:
    """The row with this id; ends the command if there is none."""
    row = session.get(table, key)
    if row is None:
        fail(f"There is no such {noun}.", Exit.NOT_FOUND)
    return row
