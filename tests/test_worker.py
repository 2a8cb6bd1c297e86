"""The worker: whatever happens in a job, it ends: done, put off, buried, or given back."""

import asyncio
import socket
import threading
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from aiohttp import web
from sqlmodel import Session, SQLModel, func, select
from structlog.testing import capture_logs

from case_orders import claims, outbox, worker
from case_orders.db import Database, new_id, now
from case_orders.documents.fetch import FETCH_SECONDS
from case_orders.documents.store import READ_SECONDS, WRITE_SECONDS
from case_orders.fulfillment.submit import SILENCE
from case_orders.pharmacies.http import HttpPharmacy
from case_orders.pharmacies.protocol import PharmacyUnavailable
from case_orders.settings import Settings
from case_orders.signing_secrets import new_secret
from case_orders.webhooks.events import test_event as announce_test
from case_orders.webhooks.messages import Message
from case_orders.webhooks.sending import ANSWER_WITHIN_SECONDS, send
from case_orders.work import Again, Context, GiveUp
from case_orders.worker import _LOOK_UPS_OF_WEBHOOKS, Kind, open_worker
from models import Attempt, Job, Organization, Webhook
from models.jobs import JobKind, JobState
from tests.fulfillment.house import until, working
from tests.pharmacies.conftest import listening

KIND = JobKind.FETCH_DOCUMENT
Run = Callable[[Context, Job], Awaitable[None]]


@pytest.fixture
def settings(new_database: Callable[[], str], tmp_path: Path) -> Settings:
    return Settings(
        data_dir=tmp_path,
        database_url=new_database(),
        outbound_allow=("127.0.0.0/8",),
        worker_poll_seconds=0.02,
    )


@pytest.fixture
async def database(settings: Settings) -> AsyncIterator[Database]:
    database = Database(settings.database_url)
    yield database
    await database.close()


@pytest.fixture
def organization_id(database: Database) -> str:
    with database.transaction() as session:
        session.add(organization := Organization(name="Clinic"))
        return organization.id


@pytest.fixture
def promise(database: Database, organization_id: str) -> Callable[..., str]:
    """Enqueue a job; its id."""

    def promise(destination: str = "") -> str:
        with database.transaction() as session:
            return outbox.enqueue(session, KIND, new_id(), organization_id=organization_id, destination=destination).id

    return promise


@pytest.fixture
def run_jobs_with(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Let `run` be what jobs do; the reasons with which they died. Second tries come soon."""

    def run_with(run: Run, seconds: float = 5, attempts: int = 3) -> list[str]:
        deaths: list[str] = []
        kind = Kind(run, seconds, attempts, lambda session, job, reason: deaths.append(reason))
        monkeypatch.setitem(worker.KINDS, KIND, kind)
        monkeypatch.setattr(worker, "_FIRST_PAUSE", timedelta(seconds=0.01))
        return deaths

    return run_with


def look(database: Database, job_id: str) -> Job | None:
    with database.transaction() as session:
        return session.get(Job, job_id)


def is_dead(database: Database, job_id: str) -> Callable[[], bool]:
    def look_at_it() -> bool:
        job = look(database, job_id)
        return job is not None and job.state is JobState.DEAD

    return look_at_it


async def test_a_job_that_is_done_is_gone_and_what_it_did_is_there(
    settings: Settings, database: Database, promise: Callable[..., str], run_jobs_with: Callable[..., list[str]]
) -> None:
    async def run(context: Context, job: Job) -> None:
        await context.complete(job, lambda session: session.add(Organization(name=job.id)))

    run_jobs_with(run)
    job_id = promise()
    async with working(settings):
        await until(lambda: look(database, job_id) is None)
    with database.transaction() as session:
        assert session.exec(select(Organization).where(Organization.name == job_id)).one()


@pytest.mark.parametrize("error", [ConnectionError("secret"), Again("it did not work"), TimeoutError("secret")])
async def test_a_job_that_fails_is_tried_again_and_then_buried_with_the_reason(
    error: Exception,
    settings: Settings,
    database: Database,
    promise: Callable[..., str],
    run_jobs_with: Callable[..., list[str]],
) -> None:
    attempts = []

    async def run(_context: Context, job: Job) -> None:
        attempts.append(job.attempt)
        raise error

    deaths = run_jobs_with(run)
    job_id = promise()
    async with working(settings):
        await until(is_dead(database, job_id))
    dead = look(database, job_id)
    assert dead is not None
    assert attempts == [1, 2, 3]
    assert deaths == [dead.last_error]
    assert dead.last_error
    assert "secret" not in dead.last_error


async def test_a_job_that_gives_up_is_buried_at_once(
    settings: Settings, database: Database, promise: Callable[..., str], run_jobs_with: Callable[..., list[str]]
) -> None:
    async def run(_context: Context, _job: Job) -> None:
        raise GiveUp("there is no hope")

    deaths = run_jobs_with(run)
    job_id = promise()
    async with working(settings):
        await until(is_dead(database, job_id))
    assert deaths == ["there is no hope"]


async def test_the_log_tells_an_attempt_that_failed_from_a_job_that_is_given_up(
    settings: Settings, database: Database, promise: Callable[..., str], run_jobs_with: Callable[..., list[str]]
) -> None:
    async def run(_context: Context, _job: Job) -> None:
        raise Again("it did not work")

    run_jobs_with(run, attempts=2)
    job_id = promise("pharmacy")
    with capture_logs() as logs:
        async with working(settings):
            await until(lambda: len(logs) == 2)
    dead = look(database, job_id)
    assert dead is not None
    fields = {
        "job": job_id,
        "kind": KIND,
        "subject": dead.subject,
        "organization": dead.organization_id,
        "destination": "pharmacy",
        "reason": "it did not work",
    }
    assert logs == [
        {"event": "job not done", "log_level": "warning", **fields, "attempt": 1},
        {"event": "job given up", "log_level": "error", **fields, "attempt": 2},
    ]


async def test_a_job_that_asks_for_a_pause_gets_it(
    settings: Settings, database: Database, promise: Callable[..., str], run_jobs_with: Callable[..., list[str]]
) -> None:
    async def run(_context: Context, _job: Job) -> None:
        raise Again("later", timedelta(hours=1))

    run_jobs_with(run)
    job_id = promise()
    async with working(settings):
        await until(lambda: (job := look(database, job_id)) is not None and job.last_error == "later")
    job = look(database, job_id)
    assert job is not None
    assert timedelta(minutes=59) < job.due_at - now() <= timedelta(hours=1)


async def test_a_pause_that_is_asked_for_does_not_make_the_attempts_come_sooner(
    settings: Settings,
    database: Database,
    promise: Callable[..., str],
    run_jobs_with: Callable[..., list[str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def run(_context: Context, _job: Job) -> None:
        raise Again("later", timedelta(seconds=1))

    run_jobs_with(run)
    monkeypatch.setattr(worker, "_FIRST_PAUSE", timedelta(minutes=10))
    job_id = promise()
    async with working(settings):
        await until(lambda: (job := look(database, job_id)) is not None and job.last_error == "later")
    job = look(database, job_id)
    assert job is not None
    assert job.due_at - now() > timedelta(minutes=7)


async def test_four_hosts_that_hang_do_not_hold_up_the_other_jobs(
    settings: Settings, database: Database, organization_id: str, run_jobs_with: Callable[..., list[str]]
) -> None:
    """All their deliveries were due before it."""
    done, over = asyncio.Event(), asyncio.Event()

    async def hang(_request: web.Request) -> web.Response:
        await over.wait()
        return web.Response()

    async def run(context: Context, job: Job) -> None:
        await context.complete(job)
        done.set()

    run_jobs_with(run)
    async with AsyncExitStack() as hosts:
        for _ in range(4):
            application = web.Application()
            application.add_routes([web.post("/", hang)])
            url = await hosts.enter_async_context(listening(application))
            with database.transaction() as session:
                webhook = _webhook(session, organization_id, url)
                for _ in range(20):
                    announce_test(session, webhook)
        with database.transaction() as session:
            outbox.enqueue(session, KIND, new_id(), organization_id=organization_id)
        async with working(settings):
            async with asyncio.timeout(5):
                await done.wait()
        over.set()


async def test_a_job_under_which_its_worker_died_each_time_is_buried(
    settings: Settings, database: Database, promise: Callable[..., str], run_jobs_with: Callable[..., list[str]]
) -> None:
    async def run(_context: Context, _job: Job) -> None:
        raise AssertionError("it must not be run again")

    deaths = run_jobs_with(run)
    job_id = promise()
    for _ in range(3):
        with database.transaction() as session:
            claims.claim(session, claims.Limits(1, 1), timedelta(), {})
    async with working(settings):
        await until(is_dead(database, job_id))
    assert deaths == ["the worker died while it ran"]


async def test_a_job_that_takes_too_long_in_all_is_cut_off_and_tried_again(
    settings: Settings, database: Database, promise: Callable[..., str], run_jobs_with: Callable[..., list[str]]
) -> None:
    async def run(context: Context, job: Job) -> None:
        if job.attempt == 1:
            await asyncio.Event().wait()
        assert job.last_error == "took longer than 0.05 s"
        await context.complete(job)

    deaths = run_jobs_with(run, seconds=0.05, attempts=9)
    job_id = promise()
    async with working(settings):
        await until(lambda: look(database, job_id) is None)
    assert deaths == []


@asynccontextmanager
async def stopped_by_event(settings: Settings) -> AsyncIterator[None]:
    async with working(settings):
        yield


@asynccontextmanager
async def stopped_by_cancelling(settings: Settings) -> AsyncIterator[None]:
    async with open_worker(settings) as cancelled:
        task = asyncio.create_task(cancelled.run(asyncio.Event()))
        yield
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()


@pytest.mark.parametrize("running", [stopped_by_event, stopped_by_cancelling])
async def test_a_worker_that_is_stopped_gives_its_jobs_back_at_once_and_no_attempt_is_counted(
    running: Callable[[Settings], AbstractAsyncContextManager[None]],
    settings: Settings,
    database: Database,
    promise: Callable[..., str],
    run_jobs_with: Callable[..., list[str]],
) -> None:
    begun = asyncio.Event()

    async def run(_context: Context, _job: Job) -> None:
        begun.set()
        await asyncio.Event().wait()

    deaths = run_jobs_with(run)
    job_id = promise()
    async with running(settings):
        await begun.wait()
    job = look(database, job_id)
    assert job is not None
    assert (job.attempt, job.leased_until, job.state) == (0, None, JobState.WAITING)
    assert job.due_at <= now()
    assert deaths == []


async def test_a_worker_that_lost_its_lease_stores_nothing(
    settings: Settings, database: Database, promise: Callable[..., str], run_jobs_with: Callable[..., list[str]]
) -> None:
    """While it works another worker gets the job, and holds it."""
    ended = asyncio.Event()

    async def run(context: Context, job: Job) -> None:
        with database.transaction() as session:
            stolen = session.get_one(Job, job.id)
            stolen.attempt += 1
            session.add(stolen)
        try:
            await context.complete(job, lambda session: session.add(Organization(name=job.id)))
        finally:
            ended.set()

    deaths = run_jobs_with(run)
    job_id = promise()
    async with working(settings):
        await ended.wait()
    job = look(database, job_id)
    assert job is not None
    assert job.attempt == 2
    with database.transaction() as session:
        assert session.exec(select(Organization).where(Organization.name == job_id)).all() == []
    assert deaths == []


async def test_two_workers_run_each_job_once(
    settings: Settings, database: Database, promise: Callable[..., str], run_jobs_with: Callable[..., list[str]]
) -> None:
    runs: Counter[str] = Counter()

    async def run(context: Context, job: Job) -> None:
        runs[job.id] += 1
        await context.complete(job)

    run_jobs_with(run)
    jobs = [promise() for _ in range(40)]
    async with working(settings), working(settings):
        await until(lambda: all(look(database, job_id) is None for job_id in jobs))
    assert runs == dict.fromkeys(jobs, 1)


@pytest.mark.parametrize(("attempt", "seconds"), [(1, 1), (2, 2), (3, 4), (10, 512), (11, 900), (1000, 900)])
def test_the_pause_doubles_up_to_a_quarter_of_an_hour_and_is_spread_by_a_quarter(attempt: int, seconds: int) -> None:
    for _ in range(20):
        assert 0.75 * seconds <= worker._backoff(attempt).total_seconds() <= 1.25 * seconds


def test_a_message_has_the_schedule_of_webhooks_before_it_whoever_is_to_blame_for_an_attempt() -> None:
    kind = worker.KINDS[JobKind.DELIVER_WEBHOOK]
    pauses = sum((kind.pause(attempt) for attempt in range(1, kind.attempts)), timedelta())
    assert timedelta(hours=27.5) < pauses < timedelta(hours=31)


async def test_a_message_that_fails_by_a_mistake_of_ours_is_put_off_as_scheduled(
    settings: Settings, database: Database, organization_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run(_context: Context, _job: Job) -> None:
        raise RuntimeError("a mistake")

    kind = replace(worker.KINDS[JobKind.DELIVER_WEBHOOK], run=run)
    monkeypatch.setitem(worker.KINDS, JobKind.DELIVER_WEBHOOK, kind)
    with database.transaction() as session:
        job = outbox.enqueue(session, JobKind.DELIVER_WEBHOOK, new_id(), organization_id=organization_id)
        job.attempt = 3
    async with working(settings):
        await until(lambda: (found := look(database, job.id)) is not None and found.last_error is not None)
    put_off = look(database, job.id)
    assert put_off is not None
    assert timedelta(hours=1.9) < put_off.due_at - now() < timedelta(hours=2.3)


def test_no_job_may_take_longer_than_its_lease() -> None:
    lease = Settings.model_fields["lease_seconds"].default
    assert all(kind.seconds < lease for kind in worker.KINDS.values())


def test_a_pharmacy_has_two_minutes_to_take_an_order_however_late_an_attempt_submits_it() -> None:
    latest = timedelta(seconds=worker.KINDS[JobKind.SUBMIT_ORDER].seconds)
    assert latest + timedelta(minutes=2) <= SILENCE


@pytest.mark.parametrize(
    ("kind", "parts"),
    [
        (JobKind.SUBMIT_ORDER, 2 * HttpPharmacy.total_seconds),  # it may look the order up before
        (JobKind.FOLLOW_ORDER, HttpPharmacy.total_seconds),
        (JobKind.CANCEL_ORDER, HttpPharmacy.total_seconds),
        (JobKind.FETCH_DOCUMENT, FETCH_SECONDS + WRITE_SECONDS + READ_SECONDS),  # one that lies there already is read
        (JobKind.DELIVER_WEBHOOK, READ_SECONDS + ANSWER_WITHIN_SECONDS),
    ],
)
def test_a_job_has_time_for_each_of_its_steps_to_take_its_longest(kind: JobKind, parts: float) -> None:
    """And five seconds for the database, or a step that is slow would end as a job that was."""
    assert parts + 5 <= worker.KINDS[kind].seconds


def test_every_kind_of_job_has_its_way_to_run() -> None:
    assert worker.KINDS.keys() == set(JobKind)


@pytest.mark.parametrize("whose", ["another organization's", "its own"])
async def test_500_deliveries_to_a_host_that_hangs_delay_one_to_another_by_less_than_5_seconds(
    settings: Settings, database: Database, organization_id: str, whose: str
) -> None:
    """They were all due before it, and it is received before any of them ended."""
    arrived, over = asyncio.Event(), asyncio.Event()

    async def hang(_request: web.Request) -> web.Response:
        await over.wait()
        return web.Response()

    async def receive(_request: web.Request) -> web.Response:
        arrived.set()
        return web.Response()

    hanging, answering = web.Application(), web.Application()
    hanging.add_routes([web.post("/", hang)])
    answering.add_routes([web.post("/", receive)])
    async with listening(hanging) as hanging_url, listening(answering) as answering_url:
        with database.transaction() as session:
            session.add(other := Organization(name="Another clinic"))
            session.flush()
            endpoint = _webhook(session, organization_id, hanging_url)
            for _ in range(500):
                announce_test(session, endpoint)
        with database.transaction() as session:
            receiver_id = other.id if whose == "another organization's" else organization_id
            announce_test(session, _webhook(session, receiver_id, answering_url))
        async with working(settings):
            async with asyncio.timeout(5):
                await arrived.wait()
            await until(lambda: _count(database, Attempt) == 1, "a record of the delivery")
        over.set()
    assert _count(database, Job) == 500


async def test_names_of_webhooks_that_never_resolve_hold_up_no_call_to_a_pharmacy(
    settings: Settings, unused_tcp_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    hanging, over = Counter[str](), threading.Event()

    def getaddrinfo(host: str, port: int, *_: object, **__: object) -> list[tuple[object, ...]]:
        if host.startswith("tarpit"):
            hanging[host] += 1
            over.wait()
        return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("127.0.0.1", port))]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    async with open_worker(settings) as worker:
        pharmacy = HttpPharmacy(f"https://pharmacy.example:{unused_tcp_port}", new_secret(), worker.context.outbound)
        deliveries = [
            asyncio.create_task(send(worker.context, _message(f"https://tarpit-{n}.example/"), now()))
            for n in range(200)
        ]
        try:
            await until(lambda: len(hanging) >= _LOOK_UPS_OF_WEBHOOKS)
            async with asyncio.timeout(5):
                with pytest.raises(PharmacyUnavailable, match="cannot be reached"):
                    await pharmacy.look_up(new_id())
        finally:
            over.set()
            for delivery in deliveries:
                delivery.cancel()
            await asyncio.gather(*deliveries, return_exceptions=True)


def _message(url: str) -> Message:
    return Message(Webhook(organization_id=new_id(), url=url, events=[], secret=new_secret()), new_id(), {}, None)


def _count(database: Database, table: type[SQLModel]) -> int:
    with database.transaction() as session:
        return session.exec(select(func.count()).select_from(table)).one()


def _webhook(session: Session, organization_id: str, url: str) -> Webhook:
    webhook = Webhook(organization_id=organization_id, url=f"{url}/", events=[], secret=new_secret())
    session.add(webhook)
    session.flush()
    return webhook
