"""Wake-ups: a job that is promised is begun at once by a worker that would not look for an hour."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, nullcontext, suppress
from pathlib import Path

import pytest
from sqlmodel import Session, select

from case_orders import outbox, wakeups, worker
from case_orders.db import Database, new_id
from case_orders.settings import Settings
from case_orders.wakeups import Pipes
from case_orders.work import Context
from case_orders.worker import Kind
from models import Job, Organization
from models.jobs import JobKind
from tests.fulfillment.house import until, working
from tests.support.postgres import ThrowawayPostgres

HOUR = 3600
KIND = JobKind.FETCH_DOCUMENT


@pytest.fixture
def settings(new_database: Callable[[], str], tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path, database_url=new_database(), worker_poll_seconds=HOUR)


@pytest.fixture
async def database(settings: Settings) -> AsyncIterator[Database]:
    """Another process's way to the database."""
    database = Database(settings.database_url)
    yield database
    await database.close()


@pytest.fixture
def organization_id(database: Database) -> str:
    with database.transaction() as session:
        session.add(organization := Organization(name="Clinic"))
        return organization.id


@pytest.fixture
def run_jobs_with(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[Context, Job], Awaitable[None]]], None]:
    return lambda run: monkeypatch.setitem(worker.KINDS, KIND, Kind(run, 5, 3))


async def listens(database: Database, listeners: int = 1) -> None:
    """Returns when this many workers listen."""

    def count() -> int:
        if database.is_sqlite:
            return len(list(Path(f"{database.engine.url.database}-workers").glob("*.pipe")))
        listening = (
            "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'LISTEN %%' AND datname = current_database()"
        )
        with database.engine.connect() as connection:
            (found,) = connection.exec_driver_sql(listening).one()
        return int(found)

    await until(lambda: count() == listeners, "a listener")


async def promise(database: Database, organization_id: str) -> str:
    return await database.write(
        lambda session: outbox.enqueue(session, KIND, new_id(), organization_id=organization_id).id
    )


async def test_a_worker_begins_a_job_when_it_is_promised(
    settings: Settings,
    database: Database,
    organization_id: str,
    run_jobs_with: Callable[[Callable[[Context, Job], Awaitable[None]]], None],
) -> None:
    begun: asyncio.Queue[str] = asyncio.Queue()

    async def run(context: Context, job: Job) -> None:
        begun.put_nowait(job.id)
        await context.complete(job)

    run_jobs_with(run)
    async with working(settings), asyncio.timeout(5):
        await listens(database)
        for _ in range(3):
            job_id = await promise(database, organization_id)
            assert await begun.get() == job_id


async def test_a_job_that_a_job_promises_is_begun_at_once(
    settings: Settings,
    database: Database,
    organization_id: str,
    run_jobs_with: Callable[[Callable[[Context, Job], Awaitable[None]]], None],
) -> None:
    done = asyncio.Event()

    async def run(context: Context, job: Job) -> None:
        if job.subject == "last":
            await context.complete(job)
            done.set()
        else:
            await context.complete(
                job, lambda session: outbox.enqueue(session, KIND, "last", organization_id=organization_id)
            )

    run_jobs_with(run)
    async with working(settings), asyncio.timeout(5):
        await promise(database, organization_id)
        await done.wait()


async def test_every_worker_is_woken(settings: Settings, database: Database, organization_id: str) -> None:
    rung = [asyncio.Event(), asyncio.Event()]
    async with database.bell.listening(rung[0].set), database.bell.listening(rung[1].set), asyncio.timeout(5):
        await listens(database, 2)
        for event in rung:
            await event.wait()  # one may have been missed before it listened
            event.clear()
        await promise(database, organization_id)
        await asyncio.gather(*(event.wait() for event in rung))


async def test_what_promises_no_job_wakes_nobody(database: Database, organization_id: str) -> None:
    rung = asyncio.Event()
    async with database.bell.listening(rung.set), asyncio.timeout(5):
        await listens(database)
        await rung.wait()
        rung.clear()
        with database.transaction() as session:
            session.add(Organization(name="Another"))
        with suppress(TimeoutError):
            async with asyncio.timeout(0.05):
                await rung.wait()
        assert not rung.is_set()


async def test_a_listener_whose_connection_breaks_connects_again_and_looks(
    postgres: ThrowawayPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wakeups, "_CONNECT_AGAIN_SECONDS", 0.01)
    database, rung = Database(postgres.create_database()), asyncio.Event()
    of_listener = "query LIKE 'LISTEN %%' AND datname = current_database()"
    async with database.bell.listening(rung.set), asyncio.timeout(5):
        await rung.wait()
        rung.clear()
        with database.engine.connect() as connection:
            connection.exec_driver_sql(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {of_listener}")
        await rung.wait()
    await database.close()


async def test_the_pipe_of_a_process_that_died_is_cleared_away(tmp_path: Path) -> None:
    os.mkfifo(abandoned := tmp_path / "abandoned.pipe")
    Pipes(tmp_path).ring(None)
    assert not abandoned.exists()


async def test_a_full_pipe_holds_nobody_up(tmp_path: Path) -> None:
    pipes = Pipes(tmp_path)
    async with pipes.listening(lambda: None):
        (pipe,) = tmp_path.iterdir()
        writer = os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
        with suppress(BlockingIOError):
            while True:
                os.write(writer, b"!" * 4096)
        os.close(writer)
        pipes.ring(None)


class Broken:
    """A bell that cannot be rung."""

    def ring(self, connection: object) -> None:
        raise OSError

    def listening(self, wake: Callable[[], None]) -> AbstractAsyncContextManager[None]:
        return nullcontext()


@pytest.mark.parametrize("spoiled", [False, True])
async def test_a_commit_stands_once_however_its_wake_up_fails(
    database: Database, organization_id: str, spoiled: bool
) -> None:
    wakeups.ring_after_commits(database.engine, Broken())
    spoiler = asyncio.create_task(database.write(spoil)) if spoiled else None
    promised = await asyncio.gather(*(promise(database, organization_id) for _ in range(3)))
    with database.transaction() as session:
        assert sorted(session.exec(select(Job.id))) == sorted(promised)
    if spoiler:
        await asyncio.gather(spoiler, return_exceptions=True)


def spoil(session: Session) -> None:
    """Fail after a change, so that the batch is run apart."""
    session.add(Organization(name="spoiled"))
    raise ValueError
