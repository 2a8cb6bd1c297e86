"""A session that several pieces of work share, one after the other, in one transaction that is flushed late.

Each piece sees what it would see in a session of its own with autoflush, after the pieces before it. What they add
is written together, many rows by one statement: a flush comes when a statement names a table that has something
pending, and at the end.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, Engine, bindparam, event, inspect
from sqlmodel import Session, SQLModel, select

_OPTION = "shared_session"
Key = tuple[Any, ...]


class SharedSession(Session):
    """Begin each piece of work by `work`; commit to flush what is left. The transaction is the connection's."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection, autoflush=False, expire_on_commit=False)
        self._added: dict[str, set[Key]] = {}
        self._unseen: str | None = None
        self._flushes = False
        self._wrote = False
        connection.execution_options(**{_OPTION: self})

    @contextmanager
    def work(self) -> Iterator[None]:
        """One piece of work. It ends with nothing in hand: the next one reads for itself."""
        self._wrote = False
        yield
        if self.dirty or self.deleted:
            self.flush()
        for row in list(self.identity_map.values()):
            self.expunge(row)

    @property
    def has_written(self) -> bool:
        """Whether the piece of work that is under way has changed anything."""
        return self._wrote or bool(self.dirty or self.deleted)

    def flush(self, objects: Any = None) -> None:
        self._added.clear()
        self._flushes = True
        try:
            super().flush(objects)
        except Exception:
            self._wrote = True  # whose rows failed is unknown: they may be those of earlier work
            raise
        finally:
            self._flushes = False

    def refresh(self, instance: object, *args: Any, **options: Any) -> None:
        self.flush()
        super().refresh(instance, *args, **options)

    def get(self, entity: Any, ident: Any, **options: Any) -> Any:
        """A look-up by key: of its table it can see one row only, so nothing is flushed for the sake of others."""
        table = str(entity.__tablename__)
        self._unseen = table if _key(ident) not in self._added.get(table, ()) else None
        try:
            if options:
                return super().get(entity, ident, **options)
            statement, names = _by_key(entity)
            return self.exec(statement, params=dict(zip(names, _key(ident), strict=True))).one_or_none()
        finally:
            self._unseen = None

    def get_one(self, entity: Any, ident: Any, **options: Any) -> Any:
        row = self.get(entity, ident, **options)
        return super().get_one(entity, ident, **options) if row is None else row

    def note_written(self) -> None:
        """Something will be written for the piece of work that is under way, and no statement tells of it yet."""
        self._wrote = True

    def note_added(self, row: SQLModel) -> None:
        key = tuple(inspect(type(row)).primary_key_from_instance(row))
        self._added.setdefault(str(row.__tablename__), set()).add(key)
        self._wrote = True

    def look_at(self, statement: str) -> None:
        """Before a statement: flush what it may see."""
        if self._flushes:
            return
        self._wrote = self._wrote or not statement.startswith("SELECT")
        pending = self._added.keys() - {self._unseen} | {str(row.__tablename__) for row in (*self.dirty, *self.deleted)}
        if pending and not pending.isdisjoint(_tables_of(statement)):
            self.flush()


@lru_cache
def _by_key(entity: type[SQLModel]) -> tuple[Any, list[str]]:
    """The query for a row by its key, with the names of its parameters: building it takes longer than executing it."""
    key = inspect(entity).primary_key
    return select(entity).where(*(column == bindparam(column.name) for column in key)), [c.name for c in key]


def _key(ident: Any) -> Key:
    return ident if isinstance(ident, tuple) else (ident,)


@event.listens_for(SharedSession, "transient_to_pending")
def _added(session: SharedSession, row: SQLModel) -> None:
    session.note_added(row)


def watch(engine: Engine) -> None:
    """Have shared sessions on this engine's connections see each statement before it is executed."""
    event.listen(engine, "before_cursor_execute", _before)


def _before(
    connection: Connection, _cursor: object, statement: str, _parameters: object, _context: object, _many: bool
) -> None:
    session: SharedSession | None = connection.get_execution_options().get(_OPTION)
    if session is not None:
        session.look_at(statement)


@lru_cache(maxsize=2000)
def _tables_of(statement: str) -> frozenset[str]:
    """The tables that a statement names, and perhaps some more."""
    return frozenset(re.findall(r"(?<![\w.])\w+(?![\w.])", statement)) & SQLModel.metadata.tables.keys()
