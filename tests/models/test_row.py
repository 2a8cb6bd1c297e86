"""Rows: what may be set on one."""

import pytest

from models import Organization


def test_a_row_takes_no_value_that_is_no_field_of_it() -> None:
    with pytest.raises(TypeError):
        Organization(name="Clinic", nmae="Clinic")
    organization = Organization(name="Clinic")
    with pytest.raises(AttributeError, match="nmae"):
        organization.nmae = "Clinic"
    organization.name = "Hospital"
    assert organization.name == "Hospital"
