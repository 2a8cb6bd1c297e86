"""Values that lie sealed in the database: those of a row together, as one JSON object in its column `sealed`.

The seal is bound to table, column and primary key, so that what is copied to another row does not open there. It is
opened when somebody asks for a value, and made anew when one is assigned.
"""

from functools import cache
from typing import Any, ClassVar

import orjson
from pydantic.fields import FieldInfo
from sqlalchemy import LargeBinary
from sqlmodel import Field

from case_orders import keyring
from case_orders.envelope import JSON, without_none
from case_orders.row import Row, table_of

COLUMN = "sealed"

# Tells a field that is sealed from one that is a column.
MARK: dict[str, Any] = {"sealed": True}


class _Sealed(property):
    """A sealed value of a row. A property, because Pydantic lets nothing else be assigned that is not a field."""

    def __init__(self, name: str) -> None:
        super().__init__(lambda row: row.opened().get(name), lambda row, value: row.seal(row.opened() | {name: value}))


class SealedTable(Row):
    """A table with sealed values. A row's primary key is known when it is made, and stays.

    A row's values are written together: whoever changes one must hold the row, or undo what another changes meanwhile.
    Only the constructor and assignment take them; to `model_dump`, `model_validate` and `sqlmodel_update` they are no
    fields.
    """

    sealed: bytes = Field(default=b"", sa_type=LargeBinary)

    sealed_fields: ClassVar[dict[str, FieldInfo]] = {}
    _required: ClassVar[frozenset[str]] = frozenset()

    @classmethod
    def __pydantic_init_subclass__(cls, **options: Any) -> None:
        """Take the sealed values out of the fields, each of which would become a column."""
        fields = cls.__pydantic_fields__
        cls.sealed_fields = {name: field for name, field in fields.items() if field.json_schema_extra == MARK}
        for name in cls.sealed_fields:
            del fields[name]
            setattr(cls, name, _Sealed(name))
        cls._required = frozenset(name for name, field in cls.sealed_fields.items() if field.is_required())
        super().__pydantic_init_subclass__(**options)

    def __init__(self, **fields: Any) -> None:
        values = {name: fields.pop(name) for name in self.sealed_fields.keys() & fields.keys()}
        super().__init__(**fields)
        # As `Row` sets the columns of a new row: it has no history that SQLAlchemy would have to keep.
        self.__dict__["sealed"] = self._seal(values)

    def opened(self) -> JSON:
        """The sealed values; not to be changed. Raises `keyring.SealBroken`."""
        # The column itself tells whether what was opened before is still it: a refreshed row has other bytes.
        sealed, values = self.__dict__.get("_opened", (None, {}))
        if sealed is not self.sealed:
            values = orjson.loads(keyring.installed().open(self.sealed, self._context()))
            self.__dict__["_opened"] = (self.sealed, values)
        opened: JSON = values
        return opened

    def seal(self, values: JSON) -> None:
        """Make these the sealed values; one that is None is left out."""
        self.sealed = self._seal(values)

    def _seal(self, values: JSON) -> bytes:
        values = without_none(**values)
        if not self._required <= values.keys():
            raise TypeError(f"{', '.join(sorted(self._required - values.keys()))} is required")
        sealed = keyring.installed().seal(orjson.dumps(values), self._context())
        self.__dict__["_opened"] = (sealed, values)
        return sealed

    def _context(self) -> str:
        table, names = _place(type(self))
        key = [self.__dict__.get(name) for name in names]
        if None in key:
            raise TypeError("a row with sealed values needs its primary key from the start")
        return context(table, *key)


@cache
def _place(row: type[SealedTable]) -> tuple[str, list[str]]:
    """The name of a table, and those of its primary key's columns."""
    table = table_of(row)
    return table.name, [column.name for column in table.primary_key]


def context(table: str, *key: object) -> str:
    """Where a row's sealed values lie. Only the last part of its primary key may hold a slash."""
    return "/".join([table, COLUMN, *map(str, key)])
