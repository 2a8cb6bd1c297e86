"""Rows: what may be set on one, and when SQLAlchemy learns of it."""

from copy import deepcopy

import pytest
from sqlalchemy import inspect

from case_orders.db import Database
from models import Organization


def test_a_row_takes_no_value_that_is_no_field_of_it() -> None:
    with pytest.raises(TypeError):
        Organization(name="Clinic", nmae="Clinic")
    organization = Organization(name="Clinic")
    with pytest.raises(AttributeError, match="nmae"):
        organization.nmae = "Clinic"
    organization.name = "Hospital"
    assert organization.name == "Hospital"


def test_a_row_is_sqlalchemys_once_a_session_takes_it(database: Database) -> None:
    row = Organization(name="Clinic")
    assert row.is_fresh
    with database.transaction() as session:
        session.add(row)
        assert not row.is_fresh
        session.flush()
        row.name = "Hospital"
        assert session.is_modified(row)
    with database.transaction() as session:
        assert session.get_one(Organization, row.id).name == "Hospital"
    assert inspect(row).detached


def test_a_row_has_what_pydantic_looks_for() -> None:
    row = Organization(name="Clinic")
    assert row == row.model_copy()
    assert row.model_dump()["name"] == "Clinic"
    assert "Clinic" in repr(row)


def test_a_row_that_was_looked_up_can_be_copied() -> None:
    found = Organization.found(["id", "name"], ["7", "Clinic"])
    assert deepcopy(found).name == "Clinic"
