"""`case-orders keys encryption`: the keys that seal the database and the documents."""

import asyncio
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from sqlmodel import func, select

from case_orders import keyring, resealing
from case_orders.cli import console
from case_orders.cli.console import AsJson, Exit
from case_orders.cli.database import failures_in_words, load_settings, open_database, open_store, tell, transaction
from case_orders.db import Database
from case_orders.documents import DocumentStore, StoreUnavailable
from case_orders.keyring import KeyFile
from case_orders.settings import Settings
from models import AuditEntry, Document

app = typer.Typer(help="Keys that seal data at rest: the first seals, all open.", no_args_is_help=True)


@app.command()
def add() -> None:
    """Put a new key before the others in the key file; without a file of ours, show one to be set."""
    settings = load_settings()
    file = KeyFile.of(settings)
    if settings.encryption_keys is None and _has_file(settings, file):
        with transaction() as session:
            key_id = file.add()
            tell(session, "keys encryption add", encryption_key=key_id)
        console.say(f"The key {key_id} seals from now on; the others still open what they sealed.")
        console.say(f"Back up {file.path} now, then run case-orders keys encryption rotate.")
        return
    typer.echo(keyring.new_entry())
    console.say("Set CASE_ORDERS_ENCRYPTION_KEYS to this key, or to several separated by commas: the first one seals.")
    console.say("Beside others, add it last on every host and restart; then put it first and restart again.")


def _has_file(settings: Settings, file: KeyFile) -> bool:
    """Whether there is a key file; ends the command if an embedded database has lost it."""
    with failures_in_words():
        keyring.require_whole(settings)
    return file.path.exists()


@app.command("list")
def list_(as_json: AsJson = False) -> None:
    """List the keys, never the keys themselves, with what is under each: sealed rows and documents, audit entries."""
    settings = load_settings()
    with open_database(settings) as database, _store_failures_in_words():
        documents = asyncio.run(resealing.documents_by_key(database, open_store(settings)))
        rows, entries = _rows_by_key(database), _audit_entries_by_key(database)
    ring = keyring.installed()
    known = dict.fromkeys([*ring.ids, *documents, *entries])
    shown = [{"id": key_id, "seals": key_id == ring.current, "inRing": key_id in ring.ids} for key_id in known]
    console.show_rows(
        [
            {**row, "rows": rows[key_id], "documents": documents[key_id], "auditEntries": entries[key_id]}
            for key_id, row in zip(known, shown, strict=True)
        ],
        as_json=as_json,
    )
    if rows[_OTHERS]:
        console.say(f"Rows that are sealed under no key of the ring: {rows[_OTHERS]}.")


_OTHERS = ""


def _rows_by_key(database: Database) -> Counter[str]:
    counts: Counter[str] = Counter()
    with database.snapshot() as session:
        for table in resealing.tables():
            here = {key_id: resealing.rows_under(session, table, key_id) for key_id in keyring.installed().ids}
            every = session.exec(select(func.count()).select_from(table)).one()
            counts.update({**here, _OTHERS: every - sum(here.values())})
    return counts


def _audit_entries_by_key(database: Database) -> Counter[str]:
    with database.snapshot() as session:
        counts = select(AuditEntry.key_id, func.count()).group_by(AuditEntry.key_id)
        return Counter(dict(session.exec(counts).all()))


@app.command()
def rotate(as_json: AsJson = False) -> None:
    """Seal everything under the first key. May be stopped at any moment and run again; the service may run meanwhile.

    Afterwards `keys encryption list` shows no row and no document under the other keys. Those with audit entries are
    still needed to verify them.
    """
    settings = load_settings()
    with open_database(settings) as database, _store_failures_in_words():
        with database.transaction() as session:
            tell(session, "keys encryption rotate", encryption_key=keyring.installed().current)
        with _progress() as progress:
            tally = _rotate_rows(database, progress)
            tally += asyncio.run(_rotate_documents(database, open_store(settings), progress))
        with database.snapshot() as session:
            left = resealing.stale_rows(session)
    broken = tally[resealing.BROKEN]
    console.show({"resealed": tally[resealing.RESEALED], "broken": broken, "left": left}, as_json=as_json)
    if broken:
        console.fail("Some values stay as they are: their key is not in the ring, or they were changed.")
    if left:
        console.fail("Some rows were in use, or were written meanwhile by a process with older keys: run it again.")


def _rotate_rows(database: Database, progress: Progress) -> Counter[str]:
    with database.snapshot() as session:
        task = progress.add_task("Rows", total=resealing.stale_rows(session))
    tally: Counter[str] = Counter()
    for outcome in resealing.reseal_rows(database):
        tally += outcome
        progress.advance(task, outcome.total())
    return tally


async def _rotate_documents(database: Database, store: DocumentStore, progress: Progress) -> Counter[str]:
    with database.snapshot() as session:
        count = session.exec(select(func.count()).select_from(Document)).one()
    task = progress.add_task("Documents", total=count)
    tally: Counter[str] = Counter()
    async for outcome in resealing.reseal_documents(database, store):
        tally += outcome
        progress.advance(task, outcome.total())
    return tally


def _progress() -> Progress:
    bar = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*bar, console=Console(stderr=True), disable=not sys.stderr.isatty())


@contextmanager
def _store_failures_in_words() -> Iterator[None]:
    try:
        yield
    except StoreUnavailable as failure:
        console.fail(f"The document store is out of reach: {failure.reason}.", Exit.UNAVAILABLE)
