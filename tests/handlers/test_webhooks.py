"""Webhooks: made, changed, deleted, tested; their deliveries."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from httpx2 import ASGITransport
from sqlalchemy import delete, text
from sqlalchemy.exc import OperationalError
from sqlmodel import Session, select

from case_orders import migrations
from case_orders.app import create_app
from case_orders.auth import SCOPES, Caller
from case_orders.db import Database, new_id, now
from case_orders.errors import Forbidden, Refusal
from case_orders.outbound import Outbound
from case_orders.settings import Settings
from case_orders.signing_secrets import new_secret
from case_orders.webhooks.events import test_event as write_test_event
from handlers.webhooks import delete_webhook, redeliver, rotate_webhook_secret, update_webhook
from models import Attempt, Delivery, Event, Job, Webhook
from models.webhooks import DeliveryStatus
from tests.handlers.steps import placed, problems
from tests.support.contract_client import ContractClient
from tests.support.postgres import ThrowawayPostgres
from tests.support.world import Tenant, populate
from tests.test_auth import a_key

URL = "https://hooks.example.com/orders"
EVENTS = ["ORDER_CREATED", "ORDER_STATUS_CHANGED"]


async def create(api: ContractClient, **more: Any) -> dict[str, Any]:
    answer = await api.post("/webhooks", json={"url": URL, "events": EVENTS} | more)
    assert answer.status_code == 201, answer.text
    data: dict[str, Any] = answer.json()["data"]
    return data


def row(database: Database, webhook_id: str) -> Webhook:
    with database.transaction() as session:
        return session.get_one(Webhook, webhook_id)


async def deliveries(api: ContractClient, webhook_id: str, **query: object) -> list[dict[str, Any]]:
    answer = await api.get(f"/webhooks/{webhook_id}/deliveries", params=query)
    found: list[dict[str, Any]] = answer.json()["data"]["deliveries"]
    return found


async def test_a_webhook_is_created_active_and_sparing(api: ContractClient) -> None:
    data = await create(api)
    webhook = data["webhook"]
    assert webhook == {
        "id": webhook["id"],
        "url": URL,
        "events": EVENTS,
        "dataMode": "IDS",
        "documentMode": "NONE",
        "active": True,
        "createdAt": webhook["createdAt"],
    }
    assert data["secret"].startswith("whsec_")


async def test_a_secret_is_shown_once_only(api: ContractClient) -> None:
    data = await create(api)
    one, many = await api.get(f"/webhooks/{data['webhook']['id']}"), await api.get("/webhooks")
    assert one.json()["data"]["webhook"] == data["webhook"]
    assert many.json()["data"]["webhooks"] == [data["webhook"]]
    assert data["secret"] not in one.text + many.text


@pytest.mark.parametrize(
    ("mode", "scope"),
    [
        ({"dataMode": "FULL"}, "orders:read"),
        ({"documentMode": "URL"}, "documents:read"),
        ({"documentMode": "BASE64"}, "documents:read"),
    ],
)
async def test_a_webhook_is_no_way_around_the_scopes_of_a_key(
    api: ContractClient, us: Tenant, database: Database, mode: dict[str, str], scope: str
) -> None:
    full, sparing = await create(api, **mode), await create(api)
    api.headers["cv-api-key"] = a_key(database, us, scopes=SCOPES - {scope})
    refused = [
        await api.post("/webhooks", json={"url": URL, "events": EVENTS} | mode),
        await api.patch(f"/webhooks/{sparing['webhook']['id']}", json=mode),
        await api.patch(f"/webhooks/{full['webhook']['id']}", json={"url": "https://elsewhere.example.com/"}),
    ]
    words = f"API key lacks the scope {scope}"
    assert [(answer.status_code, answer.json()["error"]) for answer in refused] == [(403, words)] * 3
    assert row(database, full["webhook"]["id"]).url == URL
    allowed = await api.patch(f"/webhooks/{full['webhook']['id']}", json={"active": False})
    assert allowed.status_code == 200


async def test_webhooks_are_listed_the_oldest_first(api: ContractClient) -> None:
    ids = [(await create(api))["webhook"]["id"] for _ in range(3)]
    page = (await api.get("/webhooks", params={"limit": 2})).json()["data"]
    rest = (await api.get("/webhooks", params={"cursor": page["nextCursor"]})).json()["data"]
    assert [webhook["id"] for webhook in page["webhooks"] + rest["webhooks"]] == ids


@pytest.mark.parametrize(
    "change",
    [
        {"url": "https://other.example.com/"},
        {"events": ["DOCUMENT_STORED"]},
        {"description": "Order desk"},
        {"dataMode": "FULL"},
        {"documentMode": "BASE64"},
        {"active": False},
    ],
    ids=lambda change: next(iter(change)),
)
async def test_only_what_is_sent_changes(api: ContractClient, change: dict[str, Any]) -> None:
    webhook = (await create(api))["webhook"]
    answer = await api.patch(f"/webhooks/{webhook['id']}", json=change)
    assert answer.json()["data"]["webhook"] == webhook | change
    assert (await api.get(f"/webhooks/{webhook['id']}")).json()["data"]["webhook"] == webhook | change


async def test_a_change_of_nothing_is_refused(api: ContractClient) -> None:
    webhook = (await create(api))["webhook"]
    assert problems(await api.patch(f"/webhooks/{webhook['id']}", json={})) == {
        "": ("body must have at least 1 field", "too_few")
    }


async def test_a_webhook_that_was_switched_off_comes_back(api: ContractClient, database: Database) -> None:
    webhook = (await create(api))["webhook"]
    with database.transaction() as session:
        stored = session.get_one(Webhook, webhook["id"])
        stored.active, stored.inactive_reason = False, "The endpoint answered 410 Gone"
        stored.failing_since = stored.failed_at = now()
    found = (await api.get(f"/webhooks/{webhook['id']}")).json()["data"]["webhook"]
    assert (found["active"], found["inactiveReason"]) == (False, "The endpoint answered 410 Gone")
    answer = await api.patch(f"/webhooks/{webhook['id']}", json={"active": True})
    assert answer.json()["data"]["webhook"] == webhook
    assert row(database, webhook["id"]).failing_since is None


@pytest.mark.parametrize(("url", "starts_anew"), [("https://other.example.com/", True), (URL, False)])
async def test_another_url_has_not_failed_yet(
    api: ContractClient, database: Database, url: str, starts_anew: bool
) -> None:
    webhook = (await create(api))["webhook"]
    with database.transaction() as session:
        stored = session.get_one(Webhook, webhook["id"])
        stored.failing_since = stored.failed_at = now()
    await api.patch(f"/webhooks/{webhook['id']}", json={"url": url})
    stored = row(database, webhook["id"])
    assert (stored.failing_since is None) is (stored.failed_at is None) is starts_anew


async def test_a_change_of_the_url_alone_leaves_a_webhook_switched_off(api: ContractClient, database: Database) -> None:
    webhook = (await create(api))["webhook"]
    with database.transaction() as session:
        stored = session.get_one(Webhook, webhook["id"])
        stored.active, stored.inactive_reason = False, "The endpoint answered 410 Gone"
    answer = await api.patch(f"/webhooks/{webhook['id']}", json={"url": "https://other.example.com/"})
    changed = answer.json()["data"]["webhook"]
    assert (changed["active"], changed["inactiveReason"]) == (False, "The endpoint answered 410 Gone")


async def test_an_organization_has_at_most_50_webhooks(api: ContractClient) -> None:
    ids = [(await create(api))["webhook"]["id"] for _ in range(50)]
    answer = await api.post("/webhooks", json={"url": URL, "events": EVENTS})
    assert (answer.status_code, answer.json()["code"]) == (409, "too_many_webhooks")
    await api.delete(f"/webhooks/{ids[0]}")
    await create(api)


@pytest.mark.parametrize(
    "url", ["http://10.0.0.1/", "http://169.254.169.254/latest", "http://192.168.0.1:8080/", "http://2130706433/"]
)
async def test_an_address_that_is_not_public_is_refused(api: ContractClient, url: str) -> None:
    webhook = (await create(api))["webhook"]
    for answer in (
        await api.post("/webhooks", json={"url": url, "events": EVENTS}),
        await api.patch(f"/webhooks/{webhook['id']}", json={"url": url}),
    ):
        message, code = problems(answer)["/url"]
        assert code == "url_not_allowed"
        assert message.startswith("url is not allowed: ")
        assert url not in answer.text


@pytest.mark.parametrize("url", ["http://hooks.example.com/orders", "http://8.8.8.8/"])
async def test_health_data_leaves_over_https_only(api: ContractClient, url: str) -> None:
    webhook = (await create(api))["webhook"]
    for answer in (
        await api.post("/webhooks", json={"url": url, "events": EVENTS}),
        await api.patch(f"/webhooks/{webhook['id']}", json={"url": url}),
    ):
        assert problems(answer) == {"/url": ("url is not allowed: https is required", "url_not_allowed")}


@pytest.mark.parametrize("url", ["http://127.0.0.1:9000/", "http://localhost:9000/"])
async def test_this_machine_is_called_only_where_the_operator_allows_it(
    api: ContractClient, us: Tenant, settings: Settings, database: Database, url: str
) -> None:
    await create(api, url=url)
    strict = create_app(settings.model_copy(update={"outbound_allow": ()}), database)
    async with ContractClient(
        transport=ASGITransport(strict), base_url="http://test/api/v1", headers=us.headers
    ) as client:
        answer = await client.post("/webhooks", json={"url": url, "events": EVENTS})
    assert problems(answer) == {"/url": ("url is not allowed: address is not public", "url_not_allowed")}


@pytest.mark.parametrize(
    "url",
    ["", "hooks.example.com", "ftp://example.com/", "https://user:pw@example.com/", "https://example.com/#a",
     "https://example.com/\n", "https://exa mple.com/", "https://example.com/" + "a" * 2000, "https://example.com:22/"],
)  # fmt: skip
async def test_what_is_no_url_of_an_endpoint_is_refused(api: ContractClient, url: str) -> None:
    assert list(problems(await api.post("/webhooks", json={"url": url, "events": EVENTS}))) == ["/url"]


@pytest.mark.parametrize(
    "events", [[], ["TEST"], ["ORDER_CREATED"] * 2, ["ORDER_CREATED", "order_created"], "ORDER_CREATED"]
)
async def test_the_events_of_a_webhook_are_each_named_once(api: ContractClient, events: object) -> None:
    assert (await api.post("/webhooks", json={"url": URL, "events": events})).status_code == 400


async def test_a_deleted_webhook_is_gone_with_its_deliveries(
    api: ContractClient, us: Tenant, database: Database
) -> None:
    webhook_id = (await create(api))["webhook"]["id"]
    await placed(api, us.case_id)
    (delivery,) = await deliveries(api, webhook_id)
    with database.transaction() as session:
        session.add(Attempt(delivery_id=delivery["id"], outcome="delivered"))
    assert (await api.delete(f"/webhooks/{webhook_id}")).status_code == 204
    assert (await api.delete(f"/webhooks/{webhook_id}")).status_code == 404
    assert (await api.get("/webhooks")).json()["data"] == {"webhooks": []}
    with database.transaction() as session:
        assert session.get(Delivery, delivery["id"]) is None
    await placed(api, us.case_id)


async def test_a_new_secret_leaves_the_old_one_valid_for_a_day(api: ContractClient, database: Database) -> None:
    data = await create(api)
    answer = (await api.post(f"/webhooks/{data['webhook']['id']}/rotate-secret")).json()["data"]
    assert answer["webhook"] == data["webhook"]
    assert answer["secret"] != data["secret"]
    stored = row(database, data["webhook"]["id"])
    assert stored.secrets_at(now()) == [answer["secret"], data["secret"]]
    assert stored.secrets_at(now() + timedelta(hours=23)) == [answer["secret"], data["secret"]]
    assert stored.secrets_at(now() + timedelta(hours=24)) == [answer["secret"]]


async def test_a_rotation_can_be_repeated_before_its_secret_is_in_use(api: ContractClient, database: Database) -> None:
    data = await create(api)
    lost, got = [(await api.post(f"/webhooks/{data['webhook']['id']}/rotate-secret")).json()["data"] for _ in range(2)]
    stored = row(database, data["webhook"]["id"])
    assert lost["secret"] not in stored.secrets_at(now())
    assert stored.secrets_at(now() + timedelta(hours=23)) == [got["secret"], data["secret"]]
    assert stored.secrets_at(now() + timedelta(hours=24)) == [got["secret"]]


async def test_a_rotation_after_the_overlap_keeps_the_last_secret(api: ContractClient, database: Database) -> None:
    data = await create(api)
    path = f"/webhooks/{data['webhook']['id']}/rotate-secret"
    second = (await api.post(path)).json()["data"]["secret"]
    with database.transaction() as session:
        session.get_one(Webhook, data["webhook"]["id"]).previous_secret_until = now()
    third = (await api.post(path)).json()["data"]["secret"]
    assert row(database, data["webhook"]["id"]).secrets_at(now()) == [third, second]


async def test_a_test_event_makes_an_event_a_delivery_and_a_job(api: ContractClient, database: Database) -> None:
    webhook_id = (await create(api))["webhook"]["id"]
    answer = await api.post(f"/webhooks/{webhook_id}/test")
    delivery = answer.json()["data"]["delivery"]
    assert answer.status_code == 202
    assert (delivery["eventType"], delivery["status"], delivery["attempts"]) == ("TEST", "PENDING", [])
    assert await deliveries(api, webhook_id) == [delivery]
    with database.transaction() as session:
        assert session.get_one(Event, delivery["eventId"]).case_id is None
        job = session.exec(select(Job).where(Job.subject == delivery["id"])).one()
    assert (job.kind, job.destination) == ("deliver_webhook", "hooks.example.com")


async def test_an_order_is_delivered_to_the_active_webhooks_that_want_it(api: ContractClient, us: Tenant) -> None:
    wanted, other, off = [(await create(api))["webhook"]["id"] for _ in range(3)]
    await api.patch(f"/webhooks/{other}", json={"events": ["DOCUMENT_STORED"]})
    await api.patch(f"/webhooks/{off}", json={"active": False})
    await placed(api, us.case_id)
    assert [delivery["eventType"] for delivery in await deliveries(api, wanted)] == ["ORDER_CREATED"]
    assert await deliveries(api, other) == await deliveries(api, off) == []


async def test_deliveries_are_listed_the_newest_first_with_every_attempt(
    api: ContractClient, us: Tenant, database: Database
) -> None:
    webhook_id = (await create(api))["webhook"]["id"]
    for _ in range(3):
        await placed(api, us.case_id)
    newest, middle, oldest = await deliveries(api, webhook_id)
    assert newest["createdAt"] > middle["createdAt"] > oldest["createdAt"]
    with database.transaction() as session:
        stored = session.get_one(Delivery, middle["id"])
        stored.status, stored.next_attempt_at = DeliveryStatus.FAILED, None
        session.add(Attempt(delivery_id=stored.id, status_code=500, duration_ms=12, outcome="answered 500"))
        session.add(Attempt(delivery_id=stored.id, duration_ms=15000, outcome="timed out"))
    (failed,) = await deliveries(api, webhook_id, status="FAILED")
    assert failed["id"] == middle["id"]
    assert "nextAttemptAt" not in failed
    assert [attempt | {"at": ""} for attempt in failed["attempts"]] == [
        {"at": "", "statusCode": 500, "durationMs": 12, "outcome": "answered 500"},
        {"at": "", "durationMs": 15000, "outcome": "timed out"},
    ]
    page = (await api.get(f"/webhooks/{webhook_id}/deliveries", params={"limit": 2})).json()["data"]
    rest = await deliveries(api, webhook_id, cursor=page["nextCursor"])
    assert [delivery["id"] for delivery in page["deliveries"] + rest] == [d["id"] for d in (newest, middle, oldest)]


async def test_a_delivery_is_sent_again_under_its_own_event(
    api: ContractClient, us: Tenant, database: Database
) -> None:
    webhook_id = (await create(api))["webhook"]["id"]
    await placed(api, us.case_id)
    (delivery,) = await deliveries(api, webhook_id)
    with database.transaction() as session:
        session.get_one(Delivery, delivery["id"]).status = DeliveryStatus.FAILED
    answer = await api.post(f"/webhooks/{webhook_id}/deliveries/{delivery['id']}/redeliver")
    again = answer.json()["data"]["delivery"]
    assert answer.status_code == 202
    assert (again["id"], again["eventId"], again["status"]) == (delivery["id"], delivery["eventId"], "PENDING")
    with database.transaction() as session:
        assert len(session.exec(select(Job).where(Job.subject == delivery["id"])).all()) == 1


async def test_a_webhook_that_is_not_active_sends_nothing(api: ContractClient, us: Tenant) -> None:
    webhook_id = (await create(api))["webhook"]["id"]
    await placed(api, us.case_id)
    (delivery,) = await deliveries(api, webhook_id)
    await api.patch(f"/webhooks/{webhook_id}", json={"active": False})
    for path in ("test", f"deliveries/{delivery['id']}/redeliver"):
        answer = await api.post(f"/webhooks/{webhook_id}/{path}")
        assert (answer.status_code, answer.json()["code"]) == (409, "webhook_inactive")


async def test_a_delivery_belongs_to_its_webhook(api: ContractClient, us: Tenant) -> None:
    first, second = [(await create(api))["webhook"]["id"] for _ in range(2)]
    await placed(api, us.case_id)
    (delivery,) = await deliveries(api, first)
    for delivery_id in (delivery["id"], new_id()):
        answer = await api.post(f"/webhooks/{second}/deliveries/{delivery_id}/redeliver")
        assert (answer.status_code, answer.json()["error"]) == (404, "Delivery not found")


def with_a_webhook(postgres: ThrowawayPostgres) -> tuple[Database, Caller, Webhook]:
    """A database of its own, in which two transactions can wait for each other, and whoever has the webhook in it."""
    database = Database(postgres.create_database())
    migrations.upgrade(database.engine)
    tenant = Tenant("Clinic")
    caller = Caller(tenant.organization_id, "", SCOPES)
    with database.transaction() as session:
        populate(session, tenant)
        webhook = Webhook(organization_id=tenant.organization_id, url=URL, events=EVENTS, secret=new_secret())
        session.add(webhook)
    return database, caller, webhook


def test_who_changes_a_webhook_waits_for_another_who_does(postgres: ThrowawayPostgres) -> None:
    """Its secrets and its URL are written together: else the later one would undo a rotation it had not seen."""
    database, caller, webhook = with_a_webhook(postgres)
    with database.transaction() as rotating, database.transaction() as updating:
        rotate_webhook_secret(rotating, caller, webhook.id)
        updating.connection().execute(text("SET LOCAL lock_timeout = '100ms'"))
        with pytest.raises(OperationalError):
            update_webhook(updating, caller, webhook.id, {"description": "a"}, Outbound())
        updating.rollback()
    assert row(database, webhook.id).previous_secret == webhook.secret
    database.dispose()


def delete_first(session: Session, caller: Caller, webhook_id: str) -> None:
    delete_webhook(session, caller, webhook_id)


def switch_off_first(session: Session, caller: Caller, webhook_id: str) -> None:
    update_webhook(session, caller, webhook_id, {"active": False}, Outbound())


def clean_up_first(session: Session, _caller: Caller, _webhook_id: str) -> None:
    session.connection().execute(delete(Job))
    session.connection().execute(delete(Delivery))


@pytest.mark.parametrize(
    ("act_first", "code"),
    [(delete_first, "not_found"), (switch_off_first, "webhook_inactive"), (clean_up_first, "not_found")],
)
def test_a_redelivery_sees_what_happened_while_it_waited(
    postgres: ThrowawayPostgres, act_first: Callable[[Session, Caller, str], None], code: str
) -> None:
    database, caller, webhook = with_a_webhook(postgres)
    with database.transaction() as session:
        delivery = write_test_event(session, webhook)

    def send_again() -> None:
        with database.transaction() as session:
            redeliver(session, caller, webhook.id, delivery.id)

    with ThreadPoolExecutor(1) as thread:
        with database.transaction() as session:
            act_first(session, caller, webhook.id)
            session.flush()
            sending = thread.submit(send_again)
            wait_for_a_waiter(database)
        with pytest.raises(Refusal) as refused:
            sending.result()
    assert refused.value.code == code
    database.dispose()


def wait_for_a_waiter(database: Database) -> None:
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    deadline = time.monotonic() + 2
    with database.snapshot() as session:
        while not session.connection().exec_driver_sql(waiting).scalar_one():
            assert time.monotonic() < deadline
            session.rollback()  # what a transaction saw of the others it sees again


def test_a_change_that_is_refused_for_its_scopes_has_changed_nothing(
    new_database: Callable[[], str],
) -> None:
    database, tenant = Database(new_database()), Tenant("Clinic")
    caller = Caller(tenant.organization_id, "", SCOPES - {"orders:read"})
    with database.transaction() as session:
        populate(session, tenant)
        webhook = Webhook(organization_id=tenant.organization_id, url=URL, events=EVENTS, secret=new_secret())
        session.add(webhook)
        session.flush()
        with pytest.raises(Forbidden):
            update_webhook(session, caller, webhook.id, {"dataMode": "FULL", "active": False}, Outbound())
        assert (webhook.data_mode, webhook.active, session.is_modified(webhook)) == ("IDS", True, False)
    database.dispose()
