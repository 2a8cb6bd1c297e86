import pytest

from case_orders.webhooks.events import test_event as write_test_event
from case_orders.webhooks.messages import to_send
from models import Webhook
from tests.cli.conftest import Json, Run, Transaction

URL = "https://hooks.example.com/?key=1"


@pytest.fixture
def webhook_id(organization: str, transaction: Transaction) -> str:
    with transaction() as session:
        webhook = Webhook(organization_id=organization, url=URL, events=["ORDER_CREATED"], secret="s3cret")
        session.add(webhook)
        return webhook.id


def test_webhooks_are_listed_with_where_they_lead_and_what_they_tell(json: Json, run: Run, webhook_id: str) -> None:
    (listed,) = json("webhooks", "list", "Clinic")
    assert listed | {"createdAt": ""} == {
        "id": webhook_id,
        "url": URL,
        "events": ["ORDER_CREATED"],
        "dataMode": "IDS",
        "documentMode": "NONE",
        "active": True,
        "createdAt": "",
    }
    assert "s3cret" not in run("webhooks", "list", "Clinic").stdout


def test_the_webhooks_of_another_organization_are_not_listed(json: Json, webhook_id: str) -> None:
    other = json("organizations", "create", "Another clinic")["id"]
    assert json("webhooks", "list", other) == []


def test_nothing_is_sent_to_a_webhook_that_the_operator_disabled(
    json: Json, run: Run, webhook_id: str, transaction: Transaction
) -> None:
    with transaction() as session:
        delivery_id = write_test_event(session, session.get_one(Webhook, webhook_id)).id
    run("webhooks", "disable", webhook_id)
    run("webhooks", "disable", webhook_id)
    assert [webhook["active"] for webhook in json("webhooks", "list", "Clinic")] == [False]
    with transaction() as session:
        assert session.get_one(Webhook, webhook_id).inactive_reason == "Disabled by the operator"
        assert to_send(session, [delivery_id]) == [None]


def test_a_webhook_or_organization_that_does_not_exist_is_not_found(run: Run, data_dir: object) -> None:
    run("webhooks", "disable", "nothing", code=3)
    run("webhooks", "list", "nobody", code=3)


def test_who_revokes_a_key_is_told_how_to_find_the_webhooks_that_stay(
    json: Json, run: Run, organization: str, webhook_id: str
) -> None:
    key = json("keys", "create", organization, "--name", "app")
    *_, last = run("keys", "revoke", key["id"]).stderr.splitlines()
    assert last == f"Webhooks stay as they are: look at them by case-orders webhooks list {organization}."
    assert [webhook["active"] for webhook in json("webhooks", "list", organization)] == [True]
