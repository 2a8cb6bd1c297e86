"""Look-ups of rows by what names them, which a batch of writes makes once for all of its pieces.

A piece of work that says beforehand what it will look up finds it at hand when it runs; whoever did not say so, or has
a session of its own, asks the database then.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Generic, TypeVar

from sqlalchemy import ColumnElement, bindparam, inspect, tuple_
from sqlmodel import Session, SQLModel, func, select

from case_orders.shared_session import Ask, Question, SharedSession, Values

Row = TypeVar("Row", bound=SQLModel)

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


class Lookup(Generic[Row]):
    """The rows of a table that have certain values in some columns, which an index begins with."""

    def __init__(self, table: type[Row], *by: str, lock: bool = False, **always: Any) -> None:
        """`by` are the columns whose values are asked for, `always` those that must have one value, whoever asks.

        With `lock` nobody else changes the rows until the transaction ends; that cannot be foreseen.
        """
        self.table, self.by = table, by
        # Built once: to build a statement takes longer than to execute it.
        rows = select(table).filter_by(**always)
        one = rows.filter_by(**{name: bindparam(name) for name in by})
        self._one = one.with_for_update(key_share=True) if lock else one
        self._many = rows.where(*_are_among(table, by))

    def ask(self, *values: str) -> Ask:
        return Ask(self, values)

    def all(self, session: Session, *values: str) -> Sequence[Row]:
        foreseen = _foreseen(session, self, values)
        if foreseen is not None:
            return foreseen
        return session.exec(self._one, params=dict(zip(self.by, values, strict=True))).all()

    def one(self, session: Session, *values: str) -> Row | None:
        """The row, where the values can name only one."""
        rows = self.all(session, *values)
        return rows[0] if rows else None

    def each(self, session: Session, asked: Collection[Values]) -> dict[Values, Sequence[Row]]:
        """The rows for each of several values."""
        known = {values: rows for values in asked if (rows := _foreseen(session, self, values)) is not None}
        unknown = set(asked) - known.keys()
        return known | self.find(session, unknown) if unknown else known

    def find(self, session: Session, asked: Collection[Values]) -> dict[Values, Sequence[Row]]:
        """The same, asked of the database."""
        found: dict[Values, list[Row]] = {values: [] for values in asked}
        names = {"all": sorted(asked), "first": sorted({values[0] for values in asked})}
        for row in session.exec(self._many, params=names):
            found[self.values_of(row)].append(row)
        return dict(found)

    def values_of(self, row: SQLModel) -> Values:
        return tuple(getattr(row, name) for name in self.by)


class Count:
    """How many rows of a table have a value in a column, which an index begins with."""

    def __init__(self, table: type[SQLModel], by: str) -> None:
        self.table, self.by = table, by
        column = getattr(table, by)
        self._many = select(column, func.count()).where(*_are_among(table, [by])).group_by(column)

    def ask(self, value: str) -> Ask:
        return Ask(self, (value,))

    def of(self, session: Session, value: str) -> int:
        foreseen = _foreseen(session, self, (value,))
        (count,) = foreseen if foreseen is not None else self.find(session, [(value,)])[value,]
        return int(count)

    def find(self, session: Session, asked: Collection[Values]) -> dict[Values, Sequence[int]]:
        """The one count for each, asked of the database: as a plain statement it costs half of what it would else."""
        rows = session.connection().execute(self._many, {"first": [value for (value,) in asked]})
        counts: dict[Any, int] = dict(rows.all())
        return {values: [counts.get(values[0], 0)] for values in asked}

    def values_of(self, row: SQLModel) -> Values:
        return (getattr(row, self.by),)


def _foreseen(session: Session, question: Question, values: Values) -> Sequence[Any] | None:
    return session.foreseen(question, values) if isinstance(session, SharedSession) else None


def _are_among(table: type[SQLModel], by: Sequence[str]) -> list[ColumnElement[bool]]:
    """Whether the columns `by` have values that are `:all`; the first one's alone are `:first`."""
    columns = [getattr(table, name) for name in by]
    first = columns[0].in_(bindparam("first", expanding=True))
    if len(columns) == 1:
        return [first]
    whole = tuple_(*columns).in_(bindparam("all", expanding=True))
    # SQLite has an index for a key, and none for a key and its owner: it would read the whole table.
    return [first, whole] if columns[0].primary_key and len(inspect(table).primary_key) == 1 else [whole]
