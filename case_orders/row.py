"""What every table's rows have in common: how they are made."""

from collections.abc import Callable, Iterable
from typing import Any, ClassVar, NoReturn, Self

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from sqlalchemy import Table
from sqlalchemy.orm.attributes import manager_of_class
from sqlmodel import SQLModel
from sqlmodel.main import default_registry

_STATE = "_sa_instance_state"
"""Where SQLAlchemy keeps what it knows of a row."""


class _OnlyRead:
    """Stands where SQLAlchemy's knowledge of a row would be, so that no session takes it and no value is set."""

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("__"):  # Python asks for what it would copy or print it by
            raise AttributeError(name)
        raise TypeError("a row that was looked up is there to be read: who changes one takes it from the session")


_ONLY_READ = _OnlyRead()


class Row(SQLModel):
    """A row of a table. Nothing is checked when it is made, which is SQLModel's way for tables too.

    What SQLAlchemy and Pydantic keep of a row is made when they ask for it: most rows are written, or looked at, and
    gone before that.
    """

    _defaults: ClassVar[dict[str, Callable[[], Any]]] = {}

    @classmethod
    def __pydantic_init_subclass__(cls, **options: Any) -> None:
        super().__pydantic_init_subclass__(**options)
        fields = cls.__pydantic_fields__.items()
        cls._defaults = {name: _default(field) for name, field in fields if not field.is_required()}

    def __new__(cls, *_args: Any, **_fields: Any) -> Self:
        return object.__new__(cls)

    def __init__(self, **fields: Any) -> None:
        if not fields.keys() <= type(self).__pydantic_fields__.keys():
            raise TypeError(f"{type(self).__name__} has other fields")
        values = self.__dict__
        for name, default in self._defaults.items():
            if name not in fields:
                values[name] = default()
        values.update(fields)

    @classmethod
    def found(cls, columns: Iterable[str], values: Iterable[Any]) -> Self:
        """A row that is stored and was read without a session: it is there to be read."""
        row = cls.__new__(cls)
        row.__dict__.update(zip(columns, values, strict=True))
        row.__dict__[_STATE] = _ONLY_READ
        return row

    @property
    def is_fresh(self) -> bool:
        """Whether SQLAlchemy knows nothing of the row: it was made, and neither a session nor `inspect` saw it."""
        return _STATE not in self.__dict__

    def __setattr__(self, name: str, value: Any) -> None:
        """As on any object: SQLAlchemy's attributes see it all the same. SQLModel's way there is ten times as long."""
        if self.is_fresh and name in type(self).__pydantic_fields__:
            self.__dict__[name] = value
        elif name == _STATE or hasattr(type(self), name):
            object.__setattr__(self, name, value)
        else:
            raise AttributeError(f"{type(self).__name__} has no field {name}")

    def __getattr__(self, name: str) -> Any:
        """Only what is missing is looked for here."""
        if name == _STATE:
            manager_of_class(type(self)).setup_instance(self)
        elif name in BaseModel.__slots__:
            object.__setattr__(self, name, set() if name == "__pydantic_fields_set__" else None)
        else:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return object.__getattribute__(self, name)


def table_of(rows: type[SQLModel]) -> Table:
    """The table that these are rows of."""
    return rows.metadata.tables[str(rows.__tablename__)]


def _default(field: FieldInfo) -> Callable[[], Any]:
    made: Any = field.default_factory
    return made if made is not None else lambda: field.default


def construct_plainly() -> None:
    """Have rows made by their own constructors alone.

    SQLAlchemy puts its constructor around each table's, which takes longer than all else that making a row does; it
    learns of a row when a session takes it.
    """
    for mapper in default_registry.mappers:
        mapper.class_manager.uninstall_member("__init__")
