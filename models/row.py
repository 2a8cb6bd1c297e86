"""What every table's rows have in common: how they are made."""

from collections.abc import Callable
from typing import Any, ClassVar

from pydantic.fields import FieldInfo
from sqlmodel import SQLModel

_STATE = "_sa_instance_state"
"""Where SQLAlchemy keeps what it knows of a row."""


class Row(SQLModel):
    """A row of a table. Nothing is checked when it is made, which is SQLModel's way for tables too.

    SQLModel's own constructor looks up each default anew and sets each value twice, which took a third of the time
    that an order took to place.
    """

    _defaults: ClassVar[dict[str, Callable[[], Any]]] = {}

    @classmethod
    def __pydantic_init_subclass__(cls, **options: Any) -> None:
        super().__pydantic_init_subclass__(**options)
        fields = cls.__pydantic_fields__.items()
        cls._defaults = {name: _default(field) for name, field in fields if not field.is_required()}

    def __init__(self, **fields: Any) -> None:
        if not fields.keys() <= type(self).__pydantic_fields__.keys():
            raise TypeError(f"{type(self).__name__} has other fields")
        values = self.__dict__
        for name, default in self._defaults.items():
            values[name] = default()
        values.update(fields)

    def __setattr__(self, name: str, value: Any) -> None:
        """As on any object: SQLAlchemy's attributes see it all the same. SQLModel's way there is ten times as long."""
        if name != _STATE and not hasattr(type(self), name):
            raise AttributeError(f"{type(self).__name__} has no field {name}")
        object.__setattr__(self, name, value)

    def __getattr__(self, name: str) -> Any:
        """A row has nothing private or extra, where Pydantic would look, and SQLAlchemy asks each new one in vain."""
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")


def _default(field: FieldInfo) -> Callable[[], Any]:
    made: Any = field.default_factory
    return made if made is not None else lambda: field.default
