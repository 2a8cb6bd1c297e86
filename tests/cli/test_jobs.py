from collections.abc import Callable
from datetime import timedelta

import pytest
from sqlmodel import select

from case_orders.db import now
from case_orders.outbox import enqueue
from models import Job
from models.jobs import JobKind, JobState
from tests.cli.conftest import Json, Run, Transaction

Enqueue = Callable[..., str]


@pytest.fixture
def job(organization: str, transaction: Transaction) -> Enqueue:
    """Make a job about nothing, with what is given; its id."""

    def make(kind: JobKind = JobKind.FOLLOW_ORDER, **values: object) -> str:
        with transaction() as session:
            made = enqueue(session, kind, "subject", organization_id=organization)
            for name, value in values.items():
                setattr(made, name, value)
        return made.id

    return make


def test_jobs_are_listed_with_what_they_wait_for(json: Json, job: Enqueue) -> None:
    later = now() + timedelta(hours=1)
    ids = {
        job(state=JobState.DEAD, attempt=12, last_error="answered 500"): "dead",
        job(): "due",
        job(due_at=later): "waiting",
        job(due_at=later, leased_until=later, attempt=1): "running",
    }
    listed = {row["id"]: row for row in json("jobs", "list")}
    assert {id_: row["state"] for id_, row in listed.items()} == ids
    dead = next(row for row in listed.values() if row["state"] == "dead")
    assert (dead["attempt"], dead["lastError"], dead["dueAt"]) == (12, "answered 500", None)


@pytest.mark.parametrize(
    ("filters", "states"),
    [
        (("--dead",), ["dead"]),
        (("--due",), ["due"]),
        (("--waiting",), ["due", "waiting"]),
        (("--kind", "submit_order"), ["due"]),
        (("--limit", "1"), ["dead"]),
    ],
)
def test_jobs_are_listed_by_what_they_wait_for(
    json: Json, job: Enqueue, filters: tuple[str, ...], states: list[str]
) -> None:
    job(state=JobState.DEAD)
    job(JobKind.SUBMIT_ORDER)
    job(due_at=now() + timedelta(hours=1))
    assert [row["state"] for row in json("jobs", "list", *filters)] == states


def test_a_dead_job_lives_again_with_all_its_attempts(run: Run, job: Enqueue, transaction: Transaction) -> None:
    run("jobs", "replay", job(state=JobState.DEAD, attempt=12))
    with transaction() as session:
        replayed = session.exec(select(Job)).one()
    assert (replayed.state, replayed.attempt) == (JobState.WAITING, 0)


def test_all_dead_jobs_of_a_kind_live_again(run: Run, json: Json, job: Enqueue) -> None:
    job(JobKind.SUBMIT_ORDER, state=JobState.DEAD)
    other = job(state=JobState.DEAD)
    assert "replayed: 1" in run("jobs", "replay", "--all-dead", "--kind", "submit_order").stderr
    assert [row["id"] for row in json("jobs", "list", "--dead")] == [other]
    run("jobs", "replay", "--all-dead")
    assert json("jobs", "list", "--dead") == []


def test_no_job_is_replayed_if_one_of_them_cannot_be(run: Run, json: Json, job: Enqueue) -> None:
    dead, alive = job(state=JobState.DEAD), job()
    run("jobs", "replay", dead, alive, code=1)
    run("jobs", "replay", dead, "nothing", code=3)
    assert [row["id"] for row in json("jobs", "list", "--dead")] == [dead]


def test_a_replay_of_nothing_in_particular_is_a_wrong_command_line(run: Run, job: Enqueue) -> None:
    run("jobs", "replay", code=2)
    run("jobs", "replay", job(), "--all-dead", code=2)
    run("jobs", "list", "--dead", "--due", code=2)
