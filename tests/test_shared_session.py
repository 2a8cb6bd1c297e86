"""Work that shares a session: each piece sees what it would see alone, and what they add is written together."""

import pytest
from sqlalchemy import Connection, delete, update
from sqlmodel import col, func, select

from case_orders.db import new_id
from case_orders.shared_session import SharedSession
from models import Case, Job, Organization
from models.jobs import JobKind
from tests.support.plans import statements
from tests.support.world import PATIENT, Tenant


def job(us: Tenant, subject: str = "subject") -> Job:
    return Job(organization_id=us.organization_id, kind=JobKind.SUBMIT_ORDER, subject=subject)


def subjects(session: SharedSession, us: Tenant) -> list[str]:
    return sorted(session.exec(select(Job.subject).where(Job.organization_id == us.organization_id)))


def test_rows_of_several_pieces_of_work_are_written_by_one_statement(
    session: SharedSession, connection: Connection, us: Tenant
) -> None:
    with statements(connection, "INSERT") as seen:
        for subject in "abc":
            with session.work():
                session.add(job(us, subject))
        session.flush()
    assert len(seen) == 1
    assert subjects(session, us) == ["a", "b", "c"]


def test_rows_are_written_after_those_they_refer_to(session: SharedSession) -> None:
    organization = Organization(name=f"Organization {new_id()}")
    with session.work():
        session.add(Case(organization_id=organization.id, patient=PATIENT))
        session.add(organization)
    session.flush()


def test_a_query_sees_what_earlier_work_added(session: SharedSession, us: Tenant) -> None:
    with session.work():
        session.add(job(us))
    with session.work():
        count = select(func.count()).select_from(Job).where(Job.organization_id == us.organization_id)
        assert session.exec(count).one() == 1


def test_a_query_of_another_table_writes_nothing_yet(
    session: SharedSession, connection: Connection, us: Tenant
) -> None:
    with statements(connection, "INSERT") as seen, session.work():
        session.add(job(us))
        session.exec(select(Organization)).all()
    assert seen == []


def test_a_look_up_by_key_finds_what_earlier_work_added(session: SharedSession, us: Tenant) -> None:
    added = job(us)
    job_id = added.id
    with session.work():
        session.add(added)
    with session.work():
        assert session.get(Job, job_id) is not None


def test_a_look_up_by_key_writes_nothing_for_the_sake_of_other_rows(
    session: SharedSession, connection: Connection, us: Tenant
) -> None:
    with statements(connection, "INSERT") as seen, session.work():
        session.add(job(us))
        assert session.get(Job, new_id()) is None
    assert seen == []


def test_what_one_piece_of_work_changes_the_next_one_reads(session: SharedSession, us: Tenant) -> None:
    with session.work():
        session.add(job(us))
    with session.work():
        session.exec(select(Job).where(Job.organization_id == us.organization_id)).one().attempt = 7
    with session.work():
        assert session.exec(select(Job.attempt).where(Job.organization_id == us.organization_id)).one() == 7


def test_what_a_statement_changed_is_read_anew_by_the_next_piece_of_work(session: SharedSession, us: Tenant) -> None:
    kept = job(us)
    with session.work():
        session.add(kept)
        session.flush()
        session.connection().execute(update(Job).where(col(Job.id) == kept.id).values(attempt=7))
    with session.work():
        assert session.get_one(Job, kept.id).attempt == 7


def test_a_statement_on_the_connection_sees_what_was_added(session: SharedSession, us: Tenant) -> None:
    with session.work():
        session.add(job(us))
        gone = delete(Job).where(col(Job.organization_id) == us.organization_id)
        assert session.connection().execute(gone).rowcount == 1


def test_a_row_that_is_refreshed_keeps_what_was_assigned(session: SharedSession, us: Tenant) -> None:
    with session.work():
        session.add(job(us))
    with session.work():
        row = session.exec(select(Job).where(Job.organization_id == us.organization_id)).one()
        row.attempt = 7
        session.refresh(row, with_for_update=True)
        assert row.attempt == 7


@pytest.mark.parametrize("change", ["add", "assign", "delete", "execute"])
def test_it_knows_whether_a_piece_of_work_has_written(session: SharedSession, us: Tenant, change: str) -> None:
    with session.work():
        session.add(job(us))
    with session.work():
        row = session.exec(select(Job).where(Job.organization_id == us.organization_id)).one()
        assert not session.has_written
        if change == "add":
            session.add(job(us))
        elif change == "assign":
            row.attempt = 7
        elif change == "delete":
            session.delete(row)
        else:
            session.connection().execute(update(Job).where(col(Job.id) == row.id).values(attempt=7))
        assert session.has_written
    with session.work():
        assert not session.has_written
