"""Lists in pages, in the order of a unique column.

A cursor is the last row's value of that column: a deep page costs what the first one does, and a row that comes or goes
meanwhile shifts no other.
"""

from collections.abc import Callable, Sequence
from functools import partial
from operator import eq, gt, lt
from typing import Any

from sqlalchemy import ColumnElement, Select, bindparam, select
from sqlmodel import Session

from case_orders.envelope import without_none
from case_orders.row import Row, table_of

Comparison = tuple[str, Callable[[Any, Any], Any]]
"""A column, and how it is compared with what is asked for."""


class Pages:
    """The rows of a table that are an owner's, in the order of the column `by`; they are there to be read."""

    def __init__(
        self,
        table: type[Row],
        *,
        of: str,
        by: str,
        descending: bool = False,
        columns: Sequence[str] | None = None,
        make: Callable[[Sequence[Any]], Any] | None = None,
        **comparisons: Comparison,
    ) -> None:
        """`of` is the column that tells the owner. `make` is given the values of `columns`; without it rows are whole.

        What may be asked for is that a column has a value, and the `comparisons` under their names.
        """
        its = table_of(table).columns
        names = list(columns or its.keys())
        self._table = its
        self._owner = of
        self._make = make or partial(table.found, names)
        self._place = names.index(by)
        self._sorted = select(*(its[name] for name in names)).order_by(its[by].desc() if descending else its[by])
        self._comparisons = comparisons | {"cursor": (by, lt if descending else gt)}
        # To build a query takes longer than to find a page.
        self._queries: dict[frozenset[str], Select[Any]] = {}

    def page(
        self, session: Session, owner: str, limit: int, cursor: str | None, **asked: Any
    ) -> tuple[list[Any], str | None]:
        """One page of the owner's rows of which `asked` is so, and the cursor of the next while there is more.

        What is None is not asked for.
        """
        parameters = without_none(cursor=cursor, **asked) | {self._owner: owner}
        query = self._query(frozenset(parameters))
        rows = session.connection().execute(query, parameters | {"rows": limit + 1}).all()
        following = str(rows[limit - 1][self._place]) if len(rows) > limit else None
        return [self._make(row) for row in rows[:limit]], following

    def _query(self, asked: frozenset[str]) -> Select[Any]:
        query = self._queries.get(asked)
        if query is None:
            query = self._sorted.where(*map(self._condition, sorted(asked))).limit(bindparam("rows"))
            self._queries[asked] = query
        return query

    def _condition(self, name: str) -> ColumnElement[bool]:
        column, compare = self._comparisons.get(name, (name, eq))
        condition: ColumnElement[bool] = compare(self._table[column], bindparam(name))
        return condition
