from collections.abc import Callable
from datetime import timedelta

import pytest
from sqlmodel import select

from case_orders.db import now
from case_orders.outbox import enqueue
from case_orders.signing_secrets import new_secret
from case_orders.webhooks import events
from models import Delivery, Job, Webhook
from models.jobs import JobKind, JobState
from models.webhooks import DeliveryStatus
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


def test_jobs_are_listed_with_what_they_wait_for(json: Json, job: Enqueue, organization: str) -> None:
    later = now() + timedelta(hours=1)
    ids = {
        job(state=JobState.DEAD, attempt=12, last_error="answered 500", destination="pharmacy"): "dead",
        job(): "due",
        job(due_at=later): "waiting",
        job(due_at=later, leased_until=later, attempt=1): "running",
    }
    listed = {row["id"]: row for row in json("jobs", "list")}
    assert {id_: row["state"] for id_, row in listed.items()} == ids
    dead = next(row for row in listed.values() if row["state"] == "dead")
    assert (dead["attempt"], dead["lastError"], dead["dueAt"]) == (12, "answered 500", None)
    assert (dead["subject"], dead["organization"], dead["destination"]) == ("subject", organization, "pharmacy")


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


@pytest.fixture
def dead_message(organization: str, transaction: Transaction) -> str:
    """The job of a message that was given up without an attempt that could be recorded."""
    with transaction() as session:
        webhook = Webhook(organization_id=organization, url="https://a.example", events=["TEST"], secret=new_secret())
        session.add(webhook)
        session.flush()
        delivery = events.test_event(session, webhook)
        session.flush()
        delivery.status, delivery.next_attempt_at = DeliveryStatus.FAILED, None
        job = session.exec(select(Job)).one()
        job.state, job.attempt = JobState.DEAD, 8
    return job.id


@pytest.mark.parametrize("named", [True, False])
def test_a_message_whose_dead_job_lives_again_is_pending(
    run: Run, dead_message: str, transaction: Transaction, *, named: bool
) -> None:
    run("jobs", "replay", dead_message if named else "--all-dead")
    with transaction() as session:
        delivery, job = session.exec(select(Delivery)).one(), session.exec(select(Job)).one()
    assert (delivery.status, job.state, job.attempt) == (DeliveryStatus.PENDING, JobState.WAITING, 0)
    assert delivery.next_attempt_at is not None


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
