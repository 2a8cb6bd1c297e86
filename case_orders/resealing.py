"""Bringing what is sealed under the current key: rows a batch at a time, then documents one by one.

It may be stopped at any moment and run again: what is under the current key is passed over. The service may run
meanwhile; a row that it holds right now is left for the next run.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Table, bindparam, func, tuple_, update
from sqlalchemy import select as select_columns
from sqlmodel import Session, col, select

from case_orders import keyring
from case_orders.db import Database
from case_orders.documents import DocumentMissing, DocumentStore
from case_orders.keyring import SealBroken
from case_orders.row import table_of
from models import Document
from models.sealing import SealedTable, context

BATCH = 200
_AT_ONCE = 8

# What became of a value: sealed anew, or left as it is because it does not open.
RESEALED, BROKEN, CURRENT = "resealed", "broken", "current"


def tables() -> list[Table]:
    """The tables with sealed values."""
    return [table_of(model) for model in SealedTable.__subclasses__()]


def _is_under(table: Table, key_id: str) -> ColumnElement[bool]:
    head = keyring.header(key_id)
    return func.substr(table.c.sealed, 1, len(head)) == head


def rows_under(session: Session, table: Table, key_id: str) -> int:
    """How many rows of a table are sealed under a key."""
    return session.exec(select(func.count()).select_from(table).where(_is_under(table, key_id))).one()


def stale_rows(session: Session) -> int:
    """How many rows are not sealed under the current key."""
    current = keyring.installed().current
    counts = (select(func.count()).select_from(table).where(~_is_under(table, current)) for table in tables())
    return sum(session.exec(count).one() for count in counts)


def reseal_rows(database: Database) -> Iterator[Counter[str]]:
    """Seal all rows under the current key; after each batch that is committed, what became of its rows."""
    for table in tables():
        after: Sequence[Any] | None = None
        while True:
            with database.transaction() as session:
                stale = _stale(session, table, after)
                outcome = _reseal(session, table, stale)
            if not stale:
                break
            yield outcome
            after = stale[-1][:-1]


def _stale(session: Session, table: Table, after: Sequence[Any] | None) -> Sequence[tuple[Any, ...]]:
    """The next rows to seal anew, each as its primary key and what is sealed; nobody else changes them meanwhile."""
    key = list(table.primary_key)
    stale = select_columns(*key, table.c.sealed).where(~_is_under(table, keyring.installed().current))
    if after is not None:
        stale = stale.where(tuple_(*key) > tuple_(*after))
    # To wait for a row while others are held could be a deadlock with the service.
    locked = stale.order_by(*key).limit(BATCH).with_for_update(skip_locked=True, key_share=True)
    return [tuple(row) for row in session.connection().execute(locked)]


def _reseal(session: Session, table: Table, rows: Sequence[tuple[Any, ...]]) -> Counter[str]:
    ring, changes = keyring.installed(), []
    for row in rows:
        key, sealed = row[:-1], row[-1]
        place = context(table.name, *key)
        try:
            changes.append([*key, ring.seal(ring.open(sealed, place), place)])
        except SealBroken:
            continue
    if changes:
        names = [f"key_{column.name}" for column in table.primary_key]
        same = (column == bindparam(name) for column, name in zip(table.primary_key, names, strict=True))
        change = update(table).where(*same).values(sealed=bindparam("anew"))
        session.connection().execute(change, [dict(zip([*names, "anew"], each, strict=True)) for each in changes])
    return Counter({RESEALED: len(changes), BROKEN: len(rows) - len(changes)})


async def reseal_documents(database: Database, store: DocumentStore) -> AsyncIterator[Counter[str]]:
    """Seal all documents under the current key; for some at a time, what became of them. Raises StoreUnavailable."""
    for keys in _storage_keys(database):
        yield Counter(await asyncio.gather(*(_reseal_document(store, key) for key in keys)))


async def _reseal_document(store: DocumentStore, key: str) -> str:
    try:
        if await store.sealed_under(key) == keyring.installed().current:
            return CURRENT
        await store.reseal(key)
    except DocumentMissing:  # it was named and never stored
        return CURRENT
    except SealBroken:
        return BROKEN
    return RESEALED


async def documents_by_key(database: Database, store: DocumentStore) -> Counter[str]:
    """How many documents are sealed under each key. Raises StoreUnavailable."""

    async def look(key: str) -> str | None:
        try:
            return await store.sealed_under(key)
        except DocumentMissing:
            return None

    found: Counter[str] = Counter()
    for keys in _storage_keys(database):
        found.update(key_id for key_id in await asyncio.gather(*map(look, keys)) if key_id is not None)
    return found


def _storage_keys(database: Database) -> Iterator[list[str]]:
    """Where documents lie or may lie, some at a time: also those whose row does not say yet that they are stored."""
    last = ""
    while True:
        with database.snapshot() as session:
            query = select(Document).where(col(Document.id) > last).order_by(col(Document.id)).limit(_AT_ONCE)
            documents = session.exec(query).all()
        if not documents:
            return
        yield [document.storage_key for document in documents]
        last = documents[-1].id
