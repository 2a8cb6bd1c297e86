"""Jobs that end together: by one call of what they did, and each with an outcome of its own."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import timedelta
from pathlib import Path

import pytest
from sqlmodel import Session, select

from case_orders import claims, outbox
from case_orders.db import new_id
from case_orders.outbox import LeaseLost
from case_orders.settings import Settings
from case_orders.work import Context
from case_orders.worker import open_worker
from models import AuditEntry, Job, Organization
from models.jobs import JobKind

KIND = JobKind.FETCH_DOCUMENT
calls: list[list[str]] = []


@pytest.fixture
async def context(new_database: Callable[[], str], tmp_path: Path) -> AsyncIterator[Context]:
    calls.clear()
    async with open_worker(Settings(data_dir=tmp_path, database_url=new_database())) as worker:
        yield worker.context


@pytest.fixture
def jobs(context: Context) -> list[Job]:
    """Three jobs that this worker has claimed."""
    with context.database.transaction() as session:
        session.add(clinic := Organization(name="Clinic"))
        session.flush()
        for _ in range(3):
            outbox.enqueue(session, KIND, new_id(), organization_id=clinic.id)
    with context.database.transaction() as session:
        return claims.claim(session, claims.Limits(24, 24), timedelta(minutes=1), {})


def name_clinics(session: Session, _settings: Settings, names: Sequence[str]) -> list[str]:
    """What a job does here: an organization for each name, but for one that spoils the call."""
    calls.append(list(names))
    session.add_all([Organization(name=name) for name in names])
    if "spoilt" in names:
        session.flush()
        raise ValueError
    return [f"{name} is there" for name in names]


def names(context: Context) -> set[str]:
    with context.database.transaction() as session:
        return set(session.exec(select(Organization.name))) - {"Clinic"}


def left(context: Context) -> set[str]:
    with context.database.transaction() as session:
        return set(session.exec(select(Job.id)))


def steal(context: Context, job: Job) -> None:
    with context.database.transaction() as session:
        session.get_one(Job, job.id).attempt += 1


async def end(context: Context, jobs: list[Job], *subjects: str) -> list[BaseException | None]:
    ends = [context.complete_together(job, name_clinics, name) for job, name in zip(jobs, subjects, strict=True)]
    return await asyncio.gather(*ends, return_exceptions=True)


async def test_a_job_ends_also_by_a_function_that_was_called_before_without_an_end(
    context: Context, jobs: list[Job]
) -> None:
    assert await context.hold_together(jobs[0], name_clinics, "one") == "one is there"
    assert left(context) == {job.id for job in jobs}
    await context.complete_together(jobs[0], name_clinics, "two")
    assert left(context) == {job.id for job in jobs[1:]}


async def test_jobs_that_end_at_the_same_time_are_ended_by_one_call(context: Context, jobs: list[Job]) -> None:
    assert await end(context, jobs, "one", "two", "three") == [None, None, None]
    assert calls == [["one", "two", "three"]]
    assert names(context) == {"one", "two", "three"}
    assert left(context) == set()
    with context.database.transaction() as session:
        entries = session.exec(select(AuditEntry)).all()
    assert {entry.records["document_id"] for entry in entries} == {job.subject for job in jobs}


async def test_whoever_lost_its_lease_stores_nothing_and_takes_nobody_along(context: Context, jobs: list[Job]) -> None:
    steal(context, jobs[1])
    outcomes = await end(context, jobs, "one", "two", "three")
    assert [type(outcome) for outcome in outcomes] == [type(None), LeaseLost, type(None)]
    assert names(context) == {"one", "three"}
    assert left(context) == {jobs[1].id}


async def test_a_job_that_fails_as_it_ends_fails_alone(context: Context, jobs: list[Job]) -> None:
    outcomes = await end(context, jobs, "one", "spoilt", "three")
    assert [type(outcome) for outcome in outcomes] == [type(None), ValueError, type(None)]
    assert names(context) == {"one", "three"}
    assert left(context) == {jobs[1].id}


async def test_whoever_only_holds_its_job_is_answered_and_keeps_it(context: Context, jobs: list[Job]) -> None:
    steal(context, jobs[0])
    holds = [
        context.hold_together(job, name_clinics, name) for job, name in zip(jobs, ("one", "two", "three"), strict=True)
    ]
    lost, *answers = await asyncio.gather(*holds, return_exceptions=True)
    assert isinstance(lost, LeaseLost)
    assert answers == ["two is there", "three is there"]
    assert left(context) == {job.id for job in jobs}


async def test_a_reading_is_not_asked_for_what_was_written_after_the_state_that_it_sees(context: Context) -> None:
    """It would say that what was written is not there."""
    begun, may_end = threading.Event(), threading.Event()

    def see_a_state(session: Session) -> None:
        session.exec(select(Organization.id)).all()
        begun.set()
        may_end.wait()

    early = asyncio.create_task(context.read_together(are_there, "early"))
    together = asyncio.create_task(context.database.read(see_a_state))  # in one batch, and before it
    await asyncio.to_thread(begun.wait)
    await context.database.write(lambda session: session.add(Organization(name="late")))
    late = asyncio.create_task(context.read_together(are_there, "late"))
    await asyncio.sleep(0)
    may_end.set()
    assert [await early, await late] == [False, True]
    await together


def are_there(session: Session, names: Sequence[str]) -> list[bool]:
    found = set(session.exec(select(Organization.name)))
    return [name in found for name in names]
