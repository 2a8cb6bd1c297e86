import pytest
from sqlmodel import select

from case_orders import progress
from case_orders.db import Database, now
from case_orders.outbox import enqueue
from case_orders.signing_secrets import new_secret
from case_orders.webhooks import events
from models import Delivery, Document, Event, Job, Order, Pharmacy, Webhook
from models.jobs import JobKind, JobState
from models.order_states import OrderState
from models.webhooks import DeliveryStatus
from tests.cli.conftest import Json, Run, Transaction, place
from tests.support.postgres import ThrowawayPostgres

HEALTH_DATA = ("Jane", "Doe", "123 Main St", "Penicillin", "Hypertension", "drug-456", "Lisinopril", "John", "CA9")


@pytest.fixture
def failed_order_id(order_id: str, transaction: Transaction) -> str:
    """An order whose submission was given up."""
    with transaction() as session:
        order = progress.lock(session, order_id)
        progress.move(session, order, OrderState.PROCESSING)
        progress.move(session, order, OrderState.FAILED, "the pharmacy is out of reach")
        job = session.exec(select(Job)).one()
        job.state, job.attempt, job.last_error = JobState.DEAD, 24, "the pharmacy is out of reach"
    return order_id


def jobs(transaction: Transaction) -> list[Job]:
    with transaction() as session:
        return list(session.exec(select(Job)))


def test_orders_are_listed_with_how_far_they_have_come(json: Json, order_id: str) -> None:
    (listed,) = json("orders", "list", "--organization", "Demonstration", "--status", "received")
    assert (listed["id"], listed["status"], listed["organization"]) == (order_id, "RECEIVED", "Demonstration")
    assert json("orders", "list", "--status", "FAILED") == []


def test_orders_of_another_organization_are_not_listed(json: Json, order_id: str, organization: str) -> None:
    assert json("orders", "list", "--organization", organization) == []


def test_an_order_is_shown_with_its_history_jobs_and_events(json: Json, failed_order_id: str) -> None:
    shown = json("orders", "show", failed_order_id)
    assert [change["status"] for change in shown["history"]] == ["RECEIVED", "PROCESSING", "FAILED"]
    assert shown["history"][-1]["reason"] == "the pharmacy is out of reach"
    assert [job["state"] for job in shown["jobs"]] == ["dead"]
    assert [event["sequence"] for event in shown["events"]] == [1, 2, 3]


def test_an_order_is_shown_with_where_its_documents_lie(
    json: Json, order_id: str, transaction: Transaction, data_dir: object
) -> None:
    with transaction() as session:
        order = session.get_one(Order, order_id)
        document = Document(
            organization_id=order.organization_id,
            order_id=order_id,
            source_id="1",
            source_url="https://pharmacy.example.com/?token=secret",
            file_name="Jane Doe.pdf",
            stored_at=now(),
        )
        session.add(document)
    (shown,) = json("orders", "show", order_id)["documents"]
    assert shown["location"] == f"{data_dir}/documents/{document.storage_key}"


def test_health_data_is_shown_only_when_it_is_asked_for(run: Run, order_id: str, transaction: Transaction) -> None:
    with transaction() as session:
        order = progress.lock(session, order_id)
        progress.move(session, order, OrderState.PROCESSING)
        progress.move(session, order, OrderState.SUBMITTED)
        progress.move(session, order, OrderState.ON_HOLD, "Jane is allergic to Penicillin")
    for form in ((), ("--json",)):
        sparing = run("orders", "show", order_id, *form).output
        assert [word for word in HEALTH_DATA if word in sparing] == []
        full = run("orders", "show", order_id, "--full", *form).output
        assert [
            word for word in ("Jane", "Penicillin", "Hypertension", "drug-456", "allergic") if word not in full
        ] == []


def test_replaying_a_failed_order_lets_its_dead_job_live_again(
    run: Run, failed_order_id: str, transaction: Transaction
) -> None:
    run("orders", "replay", failed_order_id)
    (job,) = jobs(transaction)
    assert (job.kind, job.state, job.attempt) == (JobKind.SUBMIT_ORDER, JobState.WAITING, 0)


def test_replaying_a_failed_order_without_a_job_submits_it_anew(
    run: Run, failed_order_id: str, transaction: Transaction
) -> None:
    with transaction() as session:
        session.delete(session.exec(select(Job)).one())
        destination = session.exec(select(Pharmacy.id).where(Pharmacy.code == "pharmacy-123")).one()
    run("orders", "replay", failed_order_id)
    (job,) = jobs(transaction)
    assert (job.kind, job.subject, job.destination) == (JobKind.SUBMIT_ORDER, failed_order_id, destination)


def test_an_order_is_not_replayed_twice(run: Run, failed_order_id: str, transaction: Transaction) -> None:
    run("orders", "replay", failed_order_id)
    run("orders", "replay", failed_order_id, code=1)
    assert len(jobs(transaction)) == 1


def test_replaying_any_other_order_lets_its_dead_jobs_live_again(
    run: Run, order_id: str, transaction: Transaction
) -> None:
    run("orders", "replay", order_id, code=1)
    with transaction() as session:
        owner = session.get_one(Order, order_id).organization_id
        enqueue(session, JobKind.FOLLOW_ORDER, order_id, organization_id=owner).state = JobState.DEAD
    run("orders", "replay", order_id)
    assert {job.state for job in jobs(transaction)} == {JobState.WAITING}


def test_a_message_of_an_order_that_is_replayed_is_pending_again(
    run: Run, order_id: str, transaction: Transaction
) -> None:
    with transaction() as session:
        order = session.get_one(Order, order_id)
        webhook = Webhook(
            organization_id=order.organization_id, url="https://a.example", events=[], secret=new_secret()
        )
        session.add(webhook)
        session.flush()
        delivery = events.deliver(session, webhook, session.exec(select(Event)).one())
        session.flush()
        delivery.status = DeliveryStatus.FAILED
        session.exec(select(Job).where(Job.subject == delivery.id)).one().state = JobState.DEAD
    run("orders", "replay", order_id)
    with transaction() as session:
        assert session.exec(select(Delivery.status)).one() is DeliveryStatus.PENDING
    assert {job.state for job in jobs(transaction)} == {JobState.WAITING}


def test_an_order_is_replayed_while_a_worker_holds_another_of_its_jobs(
    run: Run, postgres: ThrowawayPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Workers hold a job before its order: who held the order, and waited for the job, would wait in a circle."""
    url = postgres.create_database()
    monkeypatch.setenv("CASE_ORDERS_DATABASE_URL", url)
    run("migrate")
    database = Database(url)
    with database.transaction() as session:
        order_id = place(session)
        owner = session.get_one(Order, order_id).organization_id
        enqueue(session, JobKind.FOLLOW_ORDER, order_id, organization_id=owner).state = JobState.DEAD
    with database.transaction() as worker:
        worker.exec(select(Job).where(Job.kind == JobKind.SUBMIT_ORDER).with_for_update()).one()
        run("orders", "replay", order_id)
    database.dispose()


def test_an_order_that_does_not_exist_is_not_found(run: Run, data_dir: object) -> None:
    run("orders", "show", "nothing", code=3)
    run("orders", "replay", "nothing", code=3)
