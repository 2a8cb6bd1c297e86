"""Lists in pages: an owner's rows in their order, a page at a time, of those that were asked for."""

from itertools import chain
from operator import ge

import pytest
from sqlmodel import Session

from handlers.pages import Pages
from models import Drug
from tests.support.world import Tenant

FORWARDS = Pages(Drug, of="organization_id", by="code", since=("code", ge))
BACKWARDS = Pages(Drug, of="organization_id", by="code", descending=True)


def codes(pages: Pages, session: Session, owner: Tenant, limit: int, **asked: str | None) -> list[list[str]]:
    """The codes of every page."""
    found: list[list[str]] = []
    cursor = None
    while cursor is not None or not found:
        drugs, cursor = pages.page(session, owner.organization_id, limit, cursor, **asked)
        found.append([drug.code for drug in drugs])
    return found


@pytest.fixture
def in_order(session: Session, us: Tenant) -> list[str]:
    return codes(FORWARDS, session, us, 1000)[0]


def test_pages_hold_each_row_once_in_order(session: Session, us: Tenant, in_order: list[str]) -> None:
    paged = codes(FORWARDS, session, us, 7)
    assert len(in_order) > 14
    assert in_order == sorted(in_order)
    assert list(chain(*paged)) == in_order
    assert {len(page) for page in paged[:-1]} == {7}


def test_a_list_may_be_read_backwards(session: Session, us: Tenant, in_order: list[str]) -> None:
    assert list(chain(*codes(BACKWARDS, session, us, 7))) == in_order[::-1]


def test_the_last_page_is_told_as_such_even_if_it_is_full(session: Session, us: Tenant, in_order: list[str]) -> None:
    assert codes(FORWARDS, session, us, len(in_order)) == [in_order]


def test_rows_are_the_owners_alone(session: Session, us: Tenant, them: Tenant) -> None:
    session.add(Drug(organization_id=them.organization_id, code="aaa", name="theirs"))
    session.flush()
    assert codes(FORWARDS, session, them, 1000)[0][0] == "aaa"
    assert "aaa" not in codes(FORWARDS, session, us, 1000)[0]


def test_only_what_was_asked_for_is_found(session: Session, us: Tenant, in_order: list[str]) -> None:
    assert codes(FORWARDS, session, us, 1000, code="drug-456") == [["drug-456"]]
    assert codes(FORWARDS, session, us, 1000, since="drug-iii") == [[code for code in in_order if code >= "drug-iii"]]
    assert codes(FORWARDS, session, us, 1000, since="drug-iii", name="Controlled") == [
        ["drug-iii", "drug-iv", "drug-v"]
    ]
    assert codes(FORWARDS, session, us, 1000, since=None, code=None) == [in_order]


def test_rows_are_there_to_be_read(session: Session, us: Tenant) -> None:
    drugs, _ = FORWARDS.page(session, us.organization_id, 1, None)
    with pytest.raises(TypeError, match="there to be read"):
        drugs[0].name = "another"


def test_what_the_table_does_not_have_cannot_be_asked_for(session: Session, us: Tenant) -> None:
    with pytest.raises(KeyError):
        FORWARDS.page(session, us.organization_id, 1, None, color="red")
