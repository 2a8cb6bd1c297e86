"""Which rows must be there before which: told to SQLAlchemy, which does not read it off foreign keys."""

from typing import Any

from sqlalchemy import FromClause
from sqlalchemy.orm import Mapper, configure_mappers, relationship
from sqlmodel.main import default_registry


def insert_parents_first() -> None:
    """Have a session write new rows in the order of their references, in whichever order they were added.

    Only relationships order a flush. These are for nothing else: nobody loads rows through them.
    """
    mappers: dict[FromClause, Mapper[Any]] = {mapper.local_table: mapper for mapper in default_registry.mappers}
    for mapper in mappers.values():
        for key in sorted(mapper.local_table.foreign_keys, key=lambda key: key.parent.name):
            mapper.add_property(
                f"row_of_{key.parent.name}",
                relationship(
                    mappers[key.column.table].class_,
                    primaryjoin=key.parent == key.column,
                    foreign_keys=[key.parent],
                    lazy="raise",
                    cascade="",
                ),
            )
    configure_mappers()
