"""A session that several pieces of work share, one after the other, in one transaction that is flushed late.

Each piece sees what it would see in a session of its own with autoflush, after the pieces before it. What they look up
can be looked up for all of them at the beginning. What they add is written together, many rows by one statement: a
flush comes when a statement names a table that has something pending, and at the end.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache, lru_cache
from itertools import groupby
from typing import Any, NamedTuple, Protocol

from sqlalchemy import Connection, Engine, Insert, bindparam, event, insert, inspect
from sqlmodel import Session, SQLModel, select

from case_orders.row import table_of

_OPTION = "shared_session"

Values = tuple[Any, ...]


class Question(Protocol):
    """Which rows of a table have certain values in some of its columns."""

    @property
    def table(self) -> type[SQLModel]: ...

    def find(self, session: Session, asked: Collection[Values]) -> Mapping[Values, Sequence[Any]]: ...

    def values_of(self, row: SQLModel) -> Values: ...


class Ask(NamedTuple):
    """A question, and the values that are asked for."""

    question: Question
    values: Values


class SharedSession(Session):
    """Begin each piece of work by `work`; commit to flush what is left. The transaction is the connection's."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection, autoflush=False, expire_on_commit=False)
        self._added: dict[str, set[Values]] = {}
        self._unattached: dict[int, SQLModel] = {}
        self._finished: list[SQLModel] = []
        self._foreseen: dict[str, dict[Question, dict[Values, Sequence[Any]]]] = defaultdict(dict)
        self._unseen: str | None = None
        self._flushes = False
        self._wrote = False
        connection.execution_options(**{_OPTION: self})

    def foresee(self, asks: Iterable[Ask]) -> None:
        """Look up what the pieces of work will look up."""
        asked: dict[Question, set[Values]] = defaultdict(set)
        for question, values in asks:
            asked[question].add(values)
        for question, all_values in asked.items():
            answers = question.find(self, all_values)
            self._foreseen[_name(question.table)].setdefault(question, {}).update(answers)

    def foreseen(self, question: Question, values: Values) -> Sequence[Any] | None:
        """The rows, if that was foreseen and nothing was written since that could make them others."""
        table = _name(question.table)
        return None if table in self._changed() else self._foreseen[table].get(question, {}).get(values)

    def _changed(self) -> set[str]:
        """The tables of whose rows the session has some that were changed and not yet written."""
        if not len(self.identity_map):  # which is quicker to tell, and mostly so
            return set()
        return {_name(type(row)) for row in (*self.dirty, *self.deleted)}

    @contextmanager
    def work(self) -> Iterator[None]:
        """One piece of work. It ends with nothing in hand but what was foreseen: the next one reads for itself."""
        self._wrote = False
        try:
            yield
            self._finished += self._unattached.values()
            self._unattached.clear()
            if self.dirty or self.deleted:
                self.flush()
        finally:
            self._unattached.clear()
            self.expunge_all()

    @property
    def has_written(self) -> bool:
        """Whether the piece of work that is under way has changed anything."""
        return self._wrote or bool(self.dirty or self.deleted)

    def flush(self, objects: Any = None) -> None:
        self._added.clear()
        for table in self._changed():
            self._foreseen.pop(table, None)
        self._flushes = True
        try:
            self._insert_finished()
            self._attach_new()
            super().flush(objects)
        except Exception:
            self._wrote = True  # whose rows failed is unknown: they may be those of earlier work
            raise
        finally:
            self._flushes = False

    def add(self, instance: Any, **options: Any) -> None:
        if not instance.is_fresh and inspect(instance).key is not None:
            super().add(instance, **options)
        elif id(instance) not in self._unattached:
            self._unattached[id(instance)] = instance
            self._note_added(instance)

    def _attach_new(self) -> None:
        """What the piece under way has added becomes the session's only when it must be."""
        new = list(self._unattached.values())
        self._unattached.clear()
        for row in new:
            super().add(row)

    def _insert_finished(self) -> None:
        """What finished work has added is in nobody's hands: it needs none of the care that a flush takes of rows."""
        rows, self._finished = self._finished, []
        connection = self.connection()
        for table, group in groupby(sorted(rows, key=_rank), type):
            alike = list(group)
            if table in _PREPARE:
                _PREPARE[table](connection, alike)
            insertion = _insertion_of(table)
            values = [{name: row.__dict__[name] for name in insertion.columns} for row in alike]
            connection.execute(insertion.statement, values)

    def commit(self) -> None:
        self.flush()
        super().commit()

    def refresh(self, instance: object, *args: Any, **options: Any) -> None:
        self.flush()
        super().refresh(instance, *args, **options)

    def get(self, entity: Any, ident: Any, **options: Any) -> Any:
        """A look-up by key: of its table it can see one row only, so nothing is flushed for the sake of others."""
        table = _name(entity)
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

    def _note_added(self, row: SQLModel) -> None:
        table = _name(type(row))
        self._added.setdefault(table, set()).add(tuple(row.__dict__[name] for name in _insertion_of(type(row)).key))
        for question, answers in self._foreseen[table].items():
            answers.pop(question.values_of(row), None)
        self._wrote = True

    def look_at(self, statement: str) -> None:
        """Before a statement: flush what it may see, and forget what was foreseen that it may change."""
        if self._flushes:
            return
        reads = statement.startswith("SELECT")
        self._wrote = self._wrote or not reads
        pending = self._added.keys() - {self._unseen} | self._changed()
        if pending and not pending.isdisjoint(_tables_of(statement)):
            self.flush()
        if not reads:
            for table in _tables_of(statement):
                self._foreseen.pop(table, None)


Prepare = Callable[[Connection, Sequence[Any]], None]
_PREPARE: dict[type[Any], Prepare] = {}


def before_insert(table: type[SQLModel]) -> Callable[[Prepare], Prepare]:
    """Have a function see new rows of a table before they are written, in whatever session."""

    def register(prepare: Prepare) -> Prepare:
        _PREPARE[table] = prepare
        event.listen(table, "before_insert", lambda _mapper, connection, row: prepare(connection, [row]))
        return prepare

    return register


def _name(table: type[SQLModel]) -> str:
    return str(table.__tablename__)


class _Insertion(NamedTuple):
    """How rows of a table are inserted: `rank` counts from the tables that refer to no other."""

    rank: int
    statement: Insert
    columns: list[str]
    key: list[str]


@cache
def _insertion_of(table: type[SQLModel]) -> _Insertion:
    its = table_of(table)
    rank = SQLModel.metadata.sorted_tables.index(its)
    columns, key = ([column.name for column in some] for some in (its.columns, its.primary_key))
    return _Insertion(rank, insert(its), columns, key)


def _rank(row: SQLModel) -> int:
    return _insertion_of(type(row)).rank


@lru_cache
def _by_key(entity: type[SQLModel]) -> tuple[Any, list[str]]:
    """The query for a row by its key, with the names of its parameters: building it takes longer than executing it."""
    key = inspect(entity).primary_key
    return select(entity).where(*(column == bindparam(column.name) for column in key)), [c.name for c in key]


def _key(ident: Any) -> Values:
    return ident if isinstance(ident, tuple) else (ident,)


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
