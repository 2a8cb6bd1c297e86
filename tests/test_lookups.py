"""Look-ups that are made beforehand for several pieces of work: each finds what it would find if it asked itself."""

from pathlib import Path

import pytest
from sqlalchemy import Connection, update
from sqlmodel import Session, col

from case_orders import migrations
from case_orders.db import Database, new_id
from case_orders.lookups import Lookup
from case_orders.shared_session import SharedSession
from models import Case, Drug, Event, Organization
from tests.support.plans import statements
from tests.support.world import PATIENT, Tenant

CASES = Lookup(Case, "id", "organization_id")
CASES_OF = Lookup(Case, "organization_id")
DRUGS = Lookup(Drug, "organization_id", "code")
NAMED = Lookup(Drug, "organization_id", "code", name="Lisinopril")


def raise_position(session: Session, case_id: str) -> None:
    change = update(Case).where(col(Case.id) == case_id).values(last_position=7)
    session.connection().execute(change)


def test_a_row_is_found_only_with_all_of_its_values(database: Database, us: Tenant, them: Tenant) -> None:
    with database.transaction() as session:
        case = CASES.one(session, us.case_id, us.organization_id)
        assert case is not None
        assert case.id == us.case_id
        assert CASES.one(session, us.case_id, them.organization_id) is None


def test_what_was_foreseen_costs_one_query_for_all(
    session: SharedSession, connection: Connection, us: Tenant, them: Tenant
) -> None:
    asked = [(us.case_id, us.organization_id), (them.case_id, them.organization_id)]
    foreign = (us.case_id, them.organization_id)
    with statements(connection) as seen:
        session.foresee(CASES.ask(*values) for values in [*asked, foreign])
        for case_id, organization_id in asked:
            with session.work():
                case = CASES.one(session, case_id, organization_id)
                assert case is not None
                assert (case.id, case.patient["firstName"]) == (case_id, "Jane")
        with session.work():
            assert CASES.one(session, *foreign) is None
    assert len(seen) == 1


def test_several_rows_that_were_not_foreseen_cost_one_query(
    session: SharedSession, connection: Connection, us: Tenant
) -> None:
    codes = [(us.organization_id, code) for code in ("drug-456", "drug-ii", "drug-iii", "no-drug")]
    session.foresee([DRUGS.ask(*codes[0])])
    with statements(connection) as seen, session.work():
        found = DRUGS.each(session, codes)
    assert {values[1]: len(rows) for values, rows in found.items()} == {
        "drug-456": 1,
        "drug-ii": 1,
        "drug-iii": 1,
        "no-drug": 0,
    }
    assert len(seen) == 1


def test_a_condition_holds_however_rows_are_asked_for(session: SharedSession, us: Tenant) -> None:
    wanted, other = (us.organization_id, "drug-456"), (us.organization_id, "drug-ii")
    session.foresee([NAMED.ask(*wanted), NAMED.ask(*other)])
    with session.work():
        foreseen = NAMED.one(session, *wanted), NAMED.one(session, *other)
    with session.work():
        session.connection().execute(update(Drug).values(strength="1 mg"))
        asked = NAMED.one(session, *wanted), NAMED.one(session, *other)
    for found, missing in (foreseen, asked):
        assert found is not None
        assert missing is None


def test_a_row_that_was_missing_is_found_once_it_was_added(session: SharedSession, us: Tenant) -> None:
    case_id = new_id()
    session.foresee([CASES.ask(case_id, us.organization_id)])
    with session.work():
        session.add(Case(id=case_id, organization_id=us.organization_id, patient=PATIENT))
        assert CASES.one(session, case_id, us.organization_id) is not None
    with session.work():
        assert CASES.one(session, case_id, us.organization_id) is not None


def test_rows_that_were_added_join_those_that_were_foreseen(session: SharedSession, us: Tenant) -> None:
    session.foresee([CASES_OF.ask(us.organization_id)])
    with session.work():
        before = len(CASES_OF.all(session, us.organization_id))
        session.add(Case(organization_id=us.organization_id, patient=PATIENT))
    with session.work():
        assert len(CASES_OF.all(session, us.organization_id)) == before + 1


def test_what_is_assigned_is_found_at_once_and_by_the_next_piece_of_work(session: SharedSession, us: Tenant) -> None:
    session.foresee([CASES.ask(us.case_id, us.organization_id)])
    with session.work():
        session.get_one(Case, us.case_id).reference = "seven"
        assert CASES.all(session, us.case_id, us.organization_id)[0].reference == "seven"
    with session.work():
        assert CASES.all(session, us.case_id, us.organization_id)[0].reference == "seven"


def test_a_session_of_one_piece_of_work_writes_before_it_looks_up(database: Database, us: Tenant) -> None:
    with database.transaction() as session:
        session.get_one(Case, us.case_id).reference = "seven"
        assert CASES.all(session, us.case_id, us.organization_id)[0].reference == "seven"


def test_what_a_statement_changes_the_next_piece_of_work_finds(session: SharedSession, us: Tenant) -> None:
    session.foresee([CASES.ask(us.case_id, us.organization_id)])
    with session.work():
        raise_position(session, us.case_id)
    with session.work():
        assert CASES.all(session, us.case_id, us.organization_id)[0].last_position == 7


def test_an_event_that_is_counted_makes_nobody_ask_for_its_case_again(
    session: SharedSession, connection: Connection, us: Tenant
) -> None:
    session.foresee([CASES.ask(us.case_id, us.organization_id)])
    with session.work():
        session.add(Event(organization_id=us.organization_id, case_id=us.case_id, type="TEST", data={}))
    session.flush()
    with statements(connection) as seen, session.work():
        assert CASES.one(session, us.case_id, us.organization_id) is not None
    assert seen == []


def test_a_row_that_was_looked_up_is_not_to_be_changed(database: Database, us: Tenant) -> None:
    with database.transaction() as session:
        case = CASES.all(session, us.case_id, us.organization_id)[0]
        for change in (
            lambda: setattr(case, "reference", "seven"),
            lambda: setattr(case, "patient", {}),
            lambda: session.add(case),
            lambda: session.delete(case),
        ):
            with pytest.raises(TypeError, match="there to be read"):
                change()
        assert case.reference is None
        assert case.patient == PATIENT


def test_nothing_is_found_where_nothing_is_asked(database: Database) -> None:
    with database.transaction() as session:
        assert DRUGS.each(session, []) == {}


def test_a_text_that_goes_on_after_a_nul_is_another_one(tmp_path: Path) -> None:
    """For SQLite's JSON it ends there; PostgreSQL knows no such text."""
    database = Database(f"sqlite:///{tmp_path}/case-orders.db")
    migrations.upgrade(database.engine)
    with database.transaction() as session:
        session.add(clinic := Organization(name="Clinic"))
        session.flush()
        session.add(Drug(organization_id=clinic.id, code="n", name="N"))
        assert DRUGS.all(session, clinic.id, "n\0ul") == []
        assert len(DRUGS.all(session, clinic.id, "n")) == 1
    database.dispose()
