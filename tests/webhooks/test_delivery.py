"""Deliveries: what an answer means, when the next attempt is made, and when there is none."""

import asyncio
import shutil
import threading
import time
from collections.abc import Sequence
from datetime import timedelta
from itertools import count
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from aiohttp import web
from sqlmodel import Session, select

from case_orders import outbox
from case_orders.db import now
from case_orders.webhooks import delivery, events, sending
from case_orders.webhooks.events import EventType
from case_orders.webhooks.messages import Message
from case_orders.work import Again
from models import Attempt, Delivery, Job, Webhook
from models.webhooks import DeliveryStatus
from tests.support.trail import entries
from tests.webhooks.conftest import Desk, Endpoint, never

SCHEDULE = ["5 s", "5 min", "30 min", "2 h", "5 h", "10 h", "10 h"]
UNITS = {"s": 1, "min": 60, "h": 3600}


def seconds(words: str) -> int:
    number, unit = words.split()
    return int(number) * UNITS[unit]


def wait_of(desk: Desk) -> float:
    """Seconds until the next attempt."""
    (job,) = desk.jobs()
    planned = desk.delivery().next_attempt_at
    assert planned is not None
    assert abs(planned - job.due_at) < timedelta(seconds=1)
    return (job.due_at - now()).total_seconds()


async def test_a_message_that_is_taken_is_delivered_and_recorded(desk: Desk, endpoint: Endpoint) -> None:
    desk.subscribe(endpoint.url)
    desk.announce()
    began = now()
    await desk.attempt()
    (attempt,) = desk.attempts()
    assert (attempt.status_code, attempt.outcome) == (204, "delivered")
    assert began <= attempt.at <= now()
    assert 0 <= attempt.duration_ms < 5000
    assert (desk.delivery().status, desk.delivery().next_attempt_at) == (DeliveryStatus.DELIVERED, None)
    assert desk.jobs() == []


@pytest.mark.parametrize(("number", "words"), list(enumerate(SCHEDULE, 1)))
async def test_after_a_failed_attempt_the_next_comes_as_scheduled(
    number: int, words: str, desk: Desk, endpoint: Endpoint
) -> None:
    endpoint.status = 500
    desk.subscribe(endpoint.url)
    desk.announce()
    await desk.attempt(number)
    assert seconds(words) - 2 < wait_of(desk) <= 1.1 * seconds(words)
    assert desk.delivery().status is DeliveryStatus.PENDING
    assert [attempt.outcome for attempt in desk.attempts()] == ["answered 500"]


@pytest.mark.parametrize("number", range(1, 8))
def test_a_pause_is_never_shorter_than_scheduled_nor_longer_by_more_than_a_tenth(number: int) -> None:
    scheduled = timedelta(seconds=seconds(SCHEDULE[number - 1]))
    pauses = [delivery._pause(number, None) for _ in range(50)]
    assert all(pause is not None and scheduled <= pause <= 1.1 * scheduled for pause in pauses)
    assert len(set(pauses)) > 1


async def test_the_eighth_attempt_is_the_last(desk: Desk, endpoint: Endpoint) -> None:
    endpoint.status = 500
    desk.subscribe(endpoint.url)
    desk.announce()
    await desk.attempt(8)
    assert (desk.delivery().status, desk.delivery().next_attempt_at) == (DeliveryStatus.FAILED, None)
    assert desk.jobs() == []


@pytest.mark.parametrize("status", [429, 503])
async def test_an_endpoint_that_says_when_to_come_again_is_believed(
    status: int, desk: Desk, endpoint: Endpoint
) -> None:
    endpoint.status, endpoint.headers = status, {"Retry-After": "120"}
    desk.subscribe(endpoint.url)
    desk.announce()
    await desk.attempt()
    assert 115 < wait_of(desk) <= 120


@pytest.mark.parametrize("value", ["0", "1", "-5", "soon", "\u0661", "9" * 30])
async def test_a_retry_after_that_is_shorter_or_garbage_changes_nothing(
    value: str, desk: Desk, endpoint: Endpoint
) -> None:
    endpoint.status, endpoint.headers = 503, {"Retry-After": value}
    desk.subscribe(endpoint.url)
    desk.announce()
    await desk.attempt()
    assert 3 < wait_of(desk) <= 5.5


async def test_nobody_is_believed_who_says_to_come_again_after_more_than_a_day(desk: Desk, endpoint: Endpoint) -> None:
    endpoint.status, endpoint.headers = 503, {"Retry-After": "999999999"}
    desk.subscribe(endpoint.url)
    desk.announce()
    await desk.attempt()
    assert wait_of(desk) <= 24 * 3600


async def test_a_redirect_is_not_followed_and_tried_again(desk: Desk, endpoint: Endpoint) -> None:
    endpoint.status, endpoint.headers = 307, {"Location": endpoint.url.replace("hook", "elsewhere")}
    desk.subscribe(endpoint.url)
    desk.announce()
    await desk.attempt()
    assert len(endpoint.received) == 1
    assert wait_of(desk) > 0
    assert desk.attempts()[0].outcome == "answered 307; redirects are not followed"


async def test_an_endpoint_that_is_gone_is_switched_off_and_nothing_more_is_sent(
    desk: Desk, endpoint: Endpoint
) -> None:
    endpoint.status = 410
    webhook_id = desk.subscribe(endpoint.url)
    desk.announce()
    desk.announce()
    await desk.attempt()
    await desk.attempt()
    webhook = desk.webhook(webhook_id)
    assert (webhook.active, webhook.inactive_reason) == (False, "The endpoint answered 410 Gone")
    assert len(endpoint.received) == 1
    with desk.database.transaction() as session:
        assert session.exec(select(Delivery.status)).all() == [DeliveryStatus.FAILED] * 2
    assert desk.jobs() == []


async def test_a_success_ends_a_time_of_failure(desk: Desk, endpoint: Endpoint) -> None:
    webhook_id = desk.subscribe(endpoint.url)
    endpoint.status = 500
    desk.announce()
    await desk.attempt()
    assert desk.webhook(webhook_id).failing_since is not None
    endpoint.status = 200
    await desk.attempt(2)
    assert desk.webhook(webhook_id).failing_since is None


@pytest.mark.parametrize(("days", "stays_on"), [(4.9, True), (5.1, False)])
async def test_an_endpoint_that_fails_for_five_days_is_switched_off(
    days: float, stays_on: bool, desk: Desk, endpoint: Endpoint
) -> None:
    endpoint.status = 500
    webhook_id = desk.subscribe(
        endpoint.url, failing_since=now() - timedelta(days=days), failed_at=now() - timedelta(hours=24)
    )
    desk.announce()
    await desk.attempt()
    webhook = desk.webhook(webhook_id)
    assert webhook.active is stays_on
    assert webhook.inactive_reason == (None if stays_on else "No message was delivered for five days")


async def test_an_endpoint_that_failed_long_ago_and_was_sent_nothing_since_is_not_switched_off(
    desk: Desk, endpoint: Endpoint
) -> None:
    endpoint.status = 502
    webhook_id = desk.subscribe(
        endpoint.url, failing_since=now() - timedelta(days=6), failed_at=now() - timedelta(days=4.5)
    )
    desk.announce()
    began = now()
    await desk.attempt()
    webhook = desk.webhook(webhook_id)
    assert webhook.active
    assert webhook.failing_since is not None
    assert webhook.failing_since >= began


@pytest.mark.parametrize("loss", ["unavailable", "missing"])
async def test_a_document_that_cannot_be_read_is_tried_again_as_scheduled_and_is_not_the_endpoints_fault(
    loss: str, desk: Desk, endpoint: Endpoint, tmp_path: Path
) -> None:
    webhook_id = desk.subscribe(endpoint.url, document_mode="BASE64")
    shutil.rmtree(tmp_path / "documents")
    if loss == "unavailable":
        (tmp_path / "documents").touch()
    desk.announce(EventType.DOCUMENT_STORED, documentId=desk.document_id)
    await desk.attempt(2)
    assert [(attempt.status_code, attempt.outcome) for attempt in desk.attempts()] == [
        (None, "document could not be read; nothing was sent")
    ]
    assert 298 < wait_of(desk) <= 330
    assert desk.webhook(webhook_id).failing_since is None
    assert endpoint.received == []


async def test_a_webhook_that_is_deleted_gets_nothing_more(desk: Desk, endpoint: Endpoint) -> None:
    webhook_id = desk.subscribe(endpoint.url)
    desk.announce()
    with desk.database.transaction() as session:
        session.delete(session.get_one(Webhook, webhook_id))
    await desk.attempt()
    assert endpoint.received == []
    assert desk.jobs() == []


async def test_a_webhook_that_is_switched_on_while_its_message_is_given_up_gets_it(
    desk: Desk, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    webhook_id = desk.subscribe(endpoint.url)
    desk.announce()
    to_send, looks = delivery.to_send, count()

    def at_first_it_was_off(session: Session, delivery_ids: Sequence[str]) -> Sequence[Message | None]:
        return to_send(session, delivery_ids) if next(looks) else [None]

    monkeypatch.setattr(delivery, "to_send", at_first_it_was_off)
    with pytest.raises(Again, match="switched on"):
        await desk.attempt()
    assert desk.webhook(webhook_id).active
    assert desk.delivery().status is DeliveryStatus.PENDING
    assert len(desk.jobs()) == 1


async def test_a_webhook_that_is_deleted_while_it_is_called_leaves_nothing(desk: Desk, endpoint: Endpoint) -> None:
    webhook_id = desk.subscribe(endpoint.url)
    desk.announce()

    async def delete() -> web.Response:
        with desk.database.transaction() as session:
            session.delete(session.get_one(Webhook, webhook_id))
        return web.Response()

    endpoint.answer = delete
    await desk.attempt()
    assert desk.jobs() == []
    assert desk.attempts() == []


async def test_every_attempt_is_in_the_log_with_what_came_of_it(desk: Desk, endpoint: Endpoint) -> None:
    desk.subscribe(endpoint.url)
    desk.announce()
    for number, status in enumerate((500, 404, 204), 1):
        endpoint.status = status
        await desk.attempt(number)
    attempts = desk.attempts()
    assert [(attempt.status_code, attempt.outcome) for attempt in attempts] == [
        (500, "answered 500"),
        (404, "answered 404"),
        (204, "delivered"),
    ]
    assert len({message.json["id"] for message in endpoint.received}) == 1
    shown = desk.delivery().as_json(attempts)
    assert shown["status"] == "DELIVERED"
    assert len(shown["attempts"]) == 3


@pytest.mark.parametrize(
    ("url", "outcome"),
    [
        ("http://10.0.0.1/hook", "address is not public"),
        ("http://169.254.169.254/latest", "address is not public"),
        ("http://[::1]/hook", "address is not public"),
        ("http://127.0.0.1:22/hook", "port is neither 80, 443 nor 1024 or above"),
    ],
)
async def test_an_address_that_is_not_public_is_refused_at_the_delivery(url: str, outcome: str, desk: Desk) -> None:
    desk.subscribe(url)
    desk.announce()
    await desk.attempt()
    (attempt,) = desk.attempts()
    assert (attempt.status_code, attempt.outcome) == (None, outcome)
    assert wait_of(desk) > 0


async def test_an_endpoint_that_is_not_there_is_tried_again(desk: Desk) -> None:
    desk.subscribe("http://127.0.0.1:9999/hook")
    desk.announce()
    await desk.attempt()
    assert [attempt.outcome for attempt in desk.attempts()] == ["connection refused"]
    assert wait_of(desk) > 0


async def test_an_endpoint_that_is_slow_is_cut_off_and_tried_again(
    desk: Desk, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "ANSWER_WITHIN_SECONDS", 0.1)
    endpoint.answer = never
    desk.subscribe(endpoint.url)
    desk.announce()
    await desk.attempt()
    (attempt,) = desk.attempts()
    assert (attempt.status_code, attempt.outcome) == (None, "took longer than 0.1 s")
    assert attempt.duration_ms >= 100
    assert wait_of(desk) > 0


async def test_a_redelivery_sends_the_same_message_again_with_all_its_attempts(desk: Desk, endpoint: Endpoint) -> None:
    endpoint.status = 500
    webhook_id = desk.subscribe(endpoint.url)
    desk.announce()
    await desk.attempt(8)
    endpoint.status = 204
    redeliver(desk, webhook_id)
    await desk.attempt()
    first, second = endpoint.received
    assert first.json["id"] == second.json["id"]
    assert desk.delivery().status is DeliveryStatus.DELIVERED
    with desk.database.transaction() as session:
        assert len(session.exec(select(Attempt)).all()) == 2


def redeliver(desk: Desk, webhook_id: str) -> None:
    with desk.database.transaction() as session:
        webhook = events.hold(session, Webhook, webhook_id)
        assert webhook is not None
        assert events.send_now(session, webhook, session.exec(select(Delivery.id)).one()) is not None


async def test_a_redelivery_while_a_worker_gives_up_sends_again(desk: Desk, endpoint: Endpoint) -> None:
    webhook_id = desk.subscribe(endpoint.url)
    desk.announce()
    (job,) = desk.claim_all()
    buried = threading.Event()

    def give_up() -> None:
        with desk.database.transaction() as session:
            outbox.bury(session, job, "no")
            buried.set()
            time.sleep(0.2)  # the other one waits for the job by now
            delivery.fail_delivery(session, job, "no")

    def send_again() -> None:
        buried.wait()
        redeliver(desk, webhook_id)

    await asyncio.gather(asyncio.to_thread(give_up), asyncio.to_thread(send_again))
    assert desk.delivery().status is DeliveryStatus.PENDING
    await desk.attempt()
    assert desk.delivery().status is DeliveryStatus.DELIVERED


async def test_a_redelivery_takes_over_the_job_that_waits(desk: Desk, endpoint: Endpoint) -> None:
    endpoint.status = 500
    webhook_id = desk.subscribe(endpoint.url)
    desk.announce()
    await desk.attempt(5)
    assert wait_of(desk) > 4 * 3600
    for _ in range(3):
        redeliver(desk, webhook_id)
    (job,) = desk.jobs()
    assert (job.attempt, job.due_at <= now()) == (0, True)
    endpoint.status = 204
    await desk.attempt()
    assert desk.delivery().status is DeliveryStatus.DELIVERED
    assert desk.jobs() == []


async def test_a_redelivery_goes_to_where_the_webhook_is_by_then(desk: Desk, endpoint: Endpoint) -> None:
    webhook_id = desk.subscribe("http://127.0.0.1:9999/hook")
    desk.announce()
    desk.change(webhook_id, url=endpoint.url)
    redeliver(desk, webhook_id)
    assert [job.destination for job in desk.jobs()] == [urlsplit(endpoint.url).netloc]


@pytest.mark.parametrize(("number", "status"), [(1, 204), (1, 500), (8, 500)])
async def test_an_attempt_under_way_at_a_redelivery_is_recorded_and_decides_nothing(
    number: int, status: int, desk: Desk, endpoint: Endpoint
) -> None:
    webhook_id = desk.subscribe(endpoint.url)
    desk.announce()

    async def ask_again() -> web.Response:
        redeliver(desk, webhook_id)
        return web.Response(status=status)

    endpoint.answer = ask_again
    await desk.attempt(number)
    assert [attempt.status_code for attempt in desk.attempts()] == [status]
    assert desk.delivery().status is DeliveryStatus.PENDING
    (job,) = desk.jobs()
    assert (job.attempt, job.due_at <= now()) == (0, True)


async def test_messages_that_are_sent_at_the_same_time_are_recorded_each_for_itself(
    desk: Desk, endpoint: Endpoint
) -> None:
    """One webhook is deleted meanwhile, and one job goes to another worker."""
    staying, leaving = desk.subscribe(endpoint.url), desk.subscribe(endpoint.url)
    for _ in range(2):
        desk.announce()
    jobs = desk.claim_all()
    lost = next(job for job in jobs if desk.webhook_of(job) == staying)
    with desk.database.transaction() as session:
        stolen = session.get_one(Job, lost.id)
        stolen.attempt += 1
        session.add(stolen)
    arrived, may_answer = asyncio.Event(), asyncio.Event()

    async def answer() -> web.Response:
        if len(endpoint.received) == len(jobs):
            arrived.set()
        await may_answer.wait()
        return web.Response(status=204)

    endpoint.answer = answer
    sending = [asyncio.create_task(delivery.deliver_webhook(desk.context, job)) for job in jobs]
    await arrived.wait()
    with desk.database.transaction() as session:
        session.delete(session.get_one(Webhook, leaving))
    may_answer.set()
    await asyncio.gather(*sending)
    assert [job.id for job in desk.jobs()] == [lost.id]
    with desk.database.transaction() as session:
        statuses = {row.id: row.status for row in session.exec(select(Delivery))}
    assert sorted(statuses.values()) == ["DELIVERED", "PENDING"]
    assert statuses[lost.subject] == "PENDING"
    assert len(desk.attempts()) == 2


def told(desk: Desk) -> list[tuple[str, str]]:
    trail = entries(desk.database, desk.tenant.organization_id)
    return [(entry.outcome, entry.records["delivery_id"]) for entry in trail if entry.action == "deliver_webhook"]


async def test_each_message_that_is_sent_is_told_in_the_audit_trail(desk: Desk, endpoint: Endpoint) -> None:
    desk.subscribe(endpoint.url)
    desk.announce()
    for number, status in ((1, 500), (2, 204)):
        endpoint.status = status
        await desk.attempt(number)
    delivery_id = desk.delivery().id
    assert told(desk) == [("failed", delivery_id), ("done", delivery_id)]


async def test_what_the_old_address_of_a_webhook_answers_says_nothing_of_its_new_one(
    desk: Desk, endpoint: Endpoint
) -> None:
    webhook_id = desk.subscribe(endpoint.url)
    desk.announce()

    async def move_and_go() -> web.Response:
        desk.change(webhook_id, url=f"{endpoint.url}/new")
        return web.Response(status=410)

    endpoint.answer = move_and_go
    await desk.attempt()
    webhook = desk.webhook(webhook_id)
    assert (webhook.active, webhook.failing_since) == (True, None)
    assert desk.delivery().status is DeliveryStatus.PENDING
    assert wait_of(desk) > 0


@pytest.mark.parametrize(("number", "status"), [(1, 410), (8, 500)])
async def test_a_message_that_is_given_up_is_told_once(
    number: int, status: int, desk: Desk, endpoint: Endpoint
) -> None:
    endpoint.status = status
    desk.subscribe(endpoint.url)
    desk.announce()
    await desk.attempt(number)
    assert told(desk) == [("failed", desk.delivery().id)]


@pytest.mark.parametrize(("status", "outcome"), [(204, "done"), (500, "failed")])
async def test_a_message_is_told_although_its_webhook_is_gone_meanwhile(
    status: int, outcome: str, desk: Desk, endpoint: Endpoint
) -> None:
    webhook_id = desk.subscribe(endpoint.url)
    desk.announce()
    delivery_id = desk.delivery().id

    async def delete() -> web.Response:
        with desk.database.transaction() as session:
            session.delete(session.get_one(Webhook, webhook_id))
        return web.Response(status=status)

    endpoint.answer = delete
    await desk.attempt()
    assert told(desk) == [(outcome, delivery_id)]
