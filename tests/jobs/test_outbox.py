"""The outbox: only the worker that has a job can end it, and what is promised is done once."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from sqlmodel import Session, col, select

from case_orders import outbox
from case_orders.db import Database, now
from case_orders.outbox import LeaseLost
from models import Job, Organization
from models.jobs import Claimed, JobKind, JobState
from tests.support.jobs import EXPIRED, MINUTE, claim


def go_on_with(session: Session, job: Claimed) -> None:
    if not outbox.hold_all(session, [job]):
        raise LeaseLost


ENDS: dict[str, Callable[[Session, Claimed], None]] = {
    "finish": outbox.finish,
    "retry": lambda session, job: outbox.retry(session, job, "later", MINUTE),
    "release": outbox.release,
    "bury": lambda session, job: outbox.bury(session, job, "never"),
    "go on with": go_on_with,
}


@pytest.mark.parametrize("end", ENDS)
def test_whoever_lost_a_job_cannot(end: str, database: Database, promise: Callable[..., str]) -> None:
    promise()
    (stale,) = claim(database, lease=EXPIRED)
    (held,) = claim(database)

    def try_to_end(session: Session) -> None:
        session.add(Organization(name="written beside it"))
        session.flush()
        ENDS[end](session, stale)

    with pytest.raises(LeaseLost), database.transaction() as session:
        try_to_end(session)
    with database.transaction() as session:
        assert session.exec(select(Organization).where(Organization.name == "written beside it")).all() == []
        assert session.get_one(Job, held.id).attempt == 2
        outbox.finish(session, held)


@pytest.mark.parametrize("end", ENDS)
def test_a_job_that_was_put_off_is_no_longer_held(end: str, database: Database, promise: Callable[..., str]) -> None:
    promise()
    (job,) = claim(database)
    with database.transaction() as session:
        outbox.retry(session, job, "later", MINUTE)
    with pytest.raises(LeaseLost), database.transaction() as session:
        ENDS[end](session, job)


@pytest.mark.parametrize("end", ENDS)
def test_whoever_slept_while_the_job_was_given_up_and_replayed_does_not_hold_it(
    end: str, database: Database, promise: Callable[..., str]
) -> None:
    """The replayed job is at its first attempt again, as the sleeper's was."""
    promise()
    (stale,) = claim(database, lease=EXPIRED)
    (other,) = claim(database)
    with database.transaction() as session:
        outbox.bury(session, other, "it never worked")
    with database.transaction() as session:
        outbox.replay(session, session.get_one(Job, stale.id))
    (held,) = claim(database)
    assert held.attempt == stale.attempt
    with pytest.raises(LeaseLost), database.transaction() as session:
        ENDS[end](session, stale)
    with database.transaction() as session:
        outbox.finish(session, held)


def ensure(database: Database, organization_id: str, delay: timedelta = timedelta()) -> None:
    with database.transaction() as session:
        job = Job(organization_id=organization_id, kind=JobKind.CANCEL_ORDER, subject="order", due_at=now() + delay)
        outbox.ensure(session, [job])


def test_a_job_that_is_still_to_come_is_not_promised_twice(database: Database, organization_id: str) -> None:
    for _ in range(2):
        ensure(database, organization_id)
    assert len(claim(database)) == 1


def test_a_job_under_way_may_have_looked_before_and_is_promised_again(database: Database, organization_id: str) -> None:
    ensure(database, organization_id)
    (under_way,) = claim(database)
    for _ in range(2):
        ensure(database, organization_id)
    (another,) = claim(database)
    assert another.id != under_way.id


def test_a_job_that_was_given_up_lives_again_when_it_is_promised_again(
    database: Database, organization_id: str
) -> None:
    ensure(database, organization_id)
    (job,) = claim(database)
    with database.transaction() as session:
        outbox.bury(session, job, "it never worked")
    for _ in range(2):
        ensure(database, organization_id)
    assert [(again.id, again.attempt) for again in claim(database)] == [(job.id, 1)]


def test_a_job_that_is_finished_is_gone(database: Database, promise: Callable[..., str]) -> None:
    promise()
    (job,) = claim(database)
    with database.transaction() as session:
        outbox.finish(session, job)
    with database.transaction() as session:
        assert session.exec(select(Job)).all() == []


def test_a_job_that_is_put_off_keeps_the_reason_and_its_attempts(
    database: Database, promise: Callable[..., str]
) -> None:
    job_id = promise()
    (job,) = claim(database)
    with database.transaction() as session:
        outbox.retry(session, job, "x" * 600, MINUTE)
    with database.transaction() as session:
        job = session.get_one(Job, job_id)
    assert job.last_error == "x" * 500
    assert job.attempt == 1
    assert job.leased_until is None
    assert timedelta(seconds=50) < job.due_at - now() <= MINUTE


def test_a_job_that_is_given_back_is_due_at_once_and_has_lost_no_attempt(
    database: Database, promise: Callable[..., str]
) -> None:
    promise()
    (job,) = claim(database)
    with database.transaction() as session:
        outbox.release(session, job)
    (again,) = claim(database)
    assert (again.id, again.attempt) == (job.id, 1)


def test_a_buried_job_is_claimed_by_nobody_until_it_is_replayed(
    database: Database, promise: Callable[..., str]
) -> None:
    job_id = promise()
    (job,) = claim(database)
    with database.transaction() as session:
        outbox.bury(session, job, "it never worked")
    assert claim(database) == []
    with database.transaction() as session:
        dead = session.get_one(Job, job_id)
        assert (dead.state, dead.last_error) == (JobState.DEAD, "it never worked")
        outbox.replay(session, dead)
    (again,) = claim(database)
    assert (again.id, again.attempt) == (job_id, 1)


def test_the_oldest_due_job_is_one_that_nobody_works_on(database: Database, promise: Callable[..., str]) -> None:
    def oldest_due() -> object:
        with database.transaction() as session:
            return outbox.oldest_due(session)

    promise(delay=MINUTE)
    assert oldest_due() is None
    first, _ = (promise(delay=-timedelta(seconds=age)) for age in (9, 5))
    with database.transaction() as session:
        assert oldest_due() == session.exec(select(Job.due_at).where(col(Job.id) == first)).one()
    claim(database)
    assert oldest_due() is None
