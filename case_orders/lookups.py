"""Look-ups of rows by what names them, which a batch of writes makes once for all of its pieces.

A piece of work that says beforehand what it will look up finds it at hand when it runs; whoever did not say so, or has
a session of its own, asks the database then.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

import orjson
from sqlalchemy import ARRAY, ColumnElement, FromClause, Select, String, Table, and_, bindparam, func, select
from sqlalchemy import Row as SQLRow
from sqlmodel import Session, SQLModel

from case_orders.row import Row, table_of
from case_orders.shared_session import Ask, Question, SharedSession, Values

R = TypeVar("R", bound=Row)

Function = TypeVar("Function", bound=Callable[..., Any])


def asking(asks: Callable[..., Iterable[Ask]]) -> Callable[[Function], Function]:
    """Say of a handler what it will look up: `asks` takes its arguments by their names, but for the session."""

    def say(handler: Function) -> Function:
        handler.asks = asks  # type: ignore[attr-defined]  # mypy knows no attributes of functions
        return handler

    return say


def asks_of(handler: Callable[..., Any], arguments: Mapping[str, Any]) -> Iterable[Ask]:
    """What a handler with these arguments said that it will look up."""
    asks: Callable[..., Iterable[Ask]] | None = getattr(handler, "asks", None)
    return asks(**arguments) if asks is not None else ()


def foresee(session: Session, asks: Iterable[Ask]) -> None:
    """Look up at once what the piece of work that is under way will look up one after the other."""
    if isinstance(session, SharedSession):
        session.foresee(asks)


class Lookup(Generic[R]):
    """The rows of a table that have certain values in some columns, which an index begins with.

    What is found is there to be read: a row is not the session's, and whoever changes one takes it from there.
    """

    def __init__(self, table: type[R], *by: str, **always: Any) -> None:
        """`by` are the columns whose values are asked for, `always` those that must have one value, whoever asks."""
        self.table, self.by = table, by
        its = table_of(table)
        self._columns = its.columns.keys()
        self._places = [self._columns.index(name) for name in by]
        self._query = _Query(its, by, lambda query: query.add_columns(*its.columns).filter_by(**always))

    def ask(self, *values: str) -> Ask:
        return Ask(self, values)

    def all(self, session: Session, *values: str) -> Sequence[R]:
        return self.each(session, [values])[values]

    def one(self, session: Session, *values: str) -> R | None:
        """The row, where the values can name only one."""
        rows = self.all(session, *values)
        return rows[0] if rows else None

    def each(self, session: Session, asked: Collection[Values]) -> Mapping[Values, Sequence[R]]:
        """The rows for each of several values."""
        return _known(session, self, asked)

    def find(self, session: Session, asked: Collection[Values]) -> dict[Values, Sequence[R]]:
        """The same, asked of the database."""
        found: dict[Values, list[R]] = {values: [] for values in asked}
        for row in self._query.run(session, found):
            values = tuple([row[place] for place in self._places])
            if values in found:  # SQLite's JSON ends a text at a NUL, and finds what was not asked for
                found[values].append(self.table.found(self._columns, row))
        return dict(found)

    def values_of(self, row: SQLModel) -> Values:
        return tuple(getattr(row, name) for name in self.by)


class Count:
    """How many rows of a table have a value in a column, which an index begins with."""

    def __init__(self, table: type[SQLModel], by: str) -> None:
        self.table, self.by = table, by
        its = table_of(table)
        column = its.columns[by]
        self._query = _Query(its, [by], lambda query: query.add_columns(column, func.count()).group_by(column))

    def ask(self, value: str) -> Ask:
        return Ask(self, (value,))

    def of(self, session: Session, value: str) -> int:
        (count,) = _known(session, self, [(value,)])[value,]
        return int(count)

    def find(self, session: Session, asked: Collection[Values]) -> dict[Values, Sequence[int]]:
        """The one count for each, asked of the database."""
        counts = {row[0]: row[1] for row in self._query.run(session, set(asked))}
        return {values: [counts.get(values[0], 0)] for values in asked}

    def values_of(self, row: SQLModel) -> Values:
        return (getattr(row, self.by),)


def _known(session: Session, question: Question, asked: Collection[Values]) -> Mapping[Values, Sequence[Any]]:
    """What was foreseen, and what the database says of the rest."""
    if not isinstance(session, SharedSession):
        return question.find(session, asked)
    known = {values: rows for values in asked if (rows := session.foreseen(question, values)) is not None}
    unknown = [values for values in asked if values not in known]
    return known | dict(question.find(session, unknown)) if unknown else known


class _Query:
    """A query of the rows of a table whose columns `by` have values that are asked for, however many.

    The values come as a table that parameters hold: so there is one text, which the database prepares once, and it
    looks each up by its index. Of a list of pairs SQLite would compare each with every row.
    """

    def __init__(self, table: Table, by: Sequence[str], complete: Callable[[Select[Any]], Select[Any]]) -> None:
        self._forms = {}
        for dialect, given in {"sqlite": _given_as_json, "postgresql": _given_as_arrays}.items():
            form = given(by)
            matches = [table.columns[name] == value for name, value in zip(by, form.values, strict=True)]
            query = complete(select().select_from(form.rows.join(table, and_(*matches))))
            self._forms[dialect] = query, form.parameters

    def run(self, session: Session, asked: Collection[Values]) -> Sequence[SQLRow[*tuple[Any, ...]]]:
        if not asked:
            return []
        if session.autoflush:  # a shared session looks for itself at what it executes
            session.flush()
        connection = session.connection()
        query, parameters = self._forms[connection.dialect.name]
        return connection.execute(query, parameters(asked)).all()


class _Given(NamedTuple):
    """Values as a table: its rows, what each of them holds, and the parameters that make it of what is asked for."""

    rows: FromClause
    values: Sequence[ColumnElement[str]]
    parameters: Callable[[Collection[Values]], dict[str, Any]]


def _given_as_json(by: Sequence[str]) -> _Given:
    """https://www.sqlite.org/json1.html#jeach"""
    rows = func.json_each(bindparam("asked")).table_valued("value", name="asked")
    values = [func.json_extract(rows.c.value, f"$[{place}]") for place in range(len(by))]
    return _Given(rows, values, lambda asked: {"asked": orjson.dumps(list(asked)).decode()})


def _given_as_arrays(by: Sequence[str]) -> _Given:
    """https://www.postgresql.org/docs/current/functions-array.html"""
    arrays = [bindparam(name, type_=ARRAY(String)) for name in by]
    rows = func.unnest(*arrays).table_valued(*by, name="asked").render_derived()
    return _Given(
        rows, list(rows.columns), lambda asked: dict(zip(by, map(list, zip(*asked, strict=True)), strict=True))
    )
