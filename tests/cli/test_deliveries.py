import pytest
from sqlmodel import select

from case_orders.webhooks.events import test_event as write_test_event
from models import Attempt, Job, Webhook
from models.webhooks import DeliveryStatus
from tests.cli.conftest import Json, Run, Transaction


@pytest.fixture
def delivery_id(organization: str, transaction: Transaction) -> str:
    """A delivery that was given up."""
    with transaction() as session:
        webhook = Webhook(organization_id=organization, url="https://hooks.example.com/?key=1", events=[], secret="s")
        session.add(webhook)
        session.flush()
        delivery = write_test_event(session, webhook)
        session.flush()
        session.delete(session.exec(select(Job)).one())
        delivery.status = DeliveryStatus.FAILED
        session.add(Attempt(delivery_id=delivery.id, status_code=500, outcome="answered 500"))
    return delivery.id


def test_deliveries_are_listed_with_their_last_outcome(json: Json, delivery_id: str) -> None:
    (listed,) = json("deliveries", "list", "--status", "FAILED")
    assert (listed["id"], listed["attempts"], listed["lastOutcome"]) == (delivery_id, 1, "answered 500")
    assert json("deliveries", "list", "--webhook", listed["webhook"]) == [listed]
    assert json("deliveries", "list", "--status", "DELIVERED") == []


def test_a_delivery_is_sent_again(run: Run, json: Json, delivery_id: str) -> None:
    run("deliveries", "redeliver", delivery_id, delivery_id)
    assert [job["subject"] for job in json("jobs", "list", "--due")] == [delivery_id]
    assert json("deliveries", "list")[0]["status"] == "PENDING"


def test_nothing_is_sent_to_a_webhook_that_is_switched_off(
    run: Run, json: Json, delivery_id: str, transaction: Transaction
) -> None:
    with transaction() as session:
        session.exec(select(Webhook)).one().active = False
    assert "not active" in run("deliveries", "redeliver", delivery_id, code=1).stderr
    assert json("jobs", "list") == []


def test_a_delivery_or_webhook_that_does_not_exist_is_not_found(run: Run, json: Json, delivery_id: str) -> None:
    run("deliveries", "redeliver", delivery_id, "nothing", code=3)
    run("deliveries", "list", "--webhook", "nothing", code=3)
    assert json("deliveries", "list")[0]["status"] == DeliveryStatus.FAILED
