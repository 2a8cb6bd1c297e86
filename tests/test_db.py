"""The one door to the database: shared commits, private failures, and what `write` promises when it returns."""

import asyncio
import os
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, literal, text
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError
from sqlalchemy.orm.exc import StaleDataError
from sqlmodel import Session, col, delete, select, update

from case_orders import migrations
from case_orders.db import Busy, Database, Uncertain, UtcDateTime, new_id, now
from case_orders.errors import describe
from case_orders.lookups import Lookup
from models import Organization
from tests.support import plans
from tests.support.postgres import ThrowawayPostgres


@pytest.fixture
def url(new_database: Callable[[], str]) -> str:
    return new_database()


@pytest.fixture
async def ours(url: str) -> AsyncIterator[Database]:
    database = Database(url, most_waiting=200)
    yield database
    await database.close()


@pytest.fixture
def theirs(url: str) -> Iterator[Database]:
    """The same database, seen by another process."""
    database = Database(url)
    yield database
    database.dispose()


def naming(name: str) -> Callable[[Session], Any]:
    return lambda session: session.add(Organization(name=name))


def names(database: Database) -> set[str]:
    with database.transaction() as session:
        return set(session.exec(select(Organization.name)))


@contextmanager
def counting_commits(database: Database) -> Iterator[list[None]]:
    commits: list[None] = []

    def count(_connection: object) -> None:
        commits.append(None)

    event.listen(database.engine, "commit", count)
    yield commits
    event.remove(database.engine, "commit", count)


@contextmanager
def occupied_writer(database: Database) -> Iterator[None]:
    """Whatever is written meanwhile waits, and forms one batch."""
    started, go = threading.Event(), threading.Event()

    def occupy(_session: Session) -> None:
        started.set()
        assert go.wait(10)

    task = asyncio.ensure_future(database.write(occupy))
    try:
        yield
    finally:
        go.set()
        assert not task.cancelled()


async def test_concurrent_writes_share_commits_and_each_is_stored(ours: Database, theirs: Database) -> None:
    wanted = {f"Organization {number}" for number in range(100)}
    with counting_commits(ours) as commits:
        await asyncio.gather(*(ours.write(naming(name)) for name in wanted))
    assert len(commits) <= 2
    assert names(theirs) == wanted


async def test_a_write_is_there_for_others_when_it_returns(ours: Database, theirs: Database) -> None:
    for name in ("first", "second"):
        await ours.write(naming(name))
        assert name in names(theirs)


async def test_a_write_returns_what_its_work_returns(ours: Database) -> None:
    assert await ours.write(lambda session: 7) == 7


async def test_a_write_that_fails_fails_alone(ours: Database, theirs: Database) -> None:
    def fail(session: Session) -> None:
        session.add(Organization(name="undone"))
        session.flush()
        raise LookupError

    with counting_commits(ours) as commits, occupied_writer(ours):
        writes = [asyncio.ensure_future(ours.write(work)) for work in (naming("a"), fail, naming("b"))]
    outcomes = await asyncio.gather(*writes, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [type(None), LookupError, type(None)]
    assert names(theirs) == {"a", "b"}
    assert len(commits) <= 2


async def test_a_write_that_fails_after_it_changed_something_undoes_itself_and_nothing_else(
    ours: Database, theirs: Database
) -> None:
    def fail(session: Session) -> None:
        session.add(Organization(name="failing"))
        raise ValueError

    with occupied_writer(ours):
        tasks = [asyncio.ensure_future(ours.write(work)) for work in (naming("before"), fail, naming("after"))]
        await asyncio.sleep(0)
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(result) for result in results] == [type(None), ValueError, type(None)]
    assert names(theirs) == {"before", "after"}


async def test_a_refusal_does_not_make_the_others_of_its_batch_run_again(ours: Database) -> None:
    runs: list[str] = []

    def refuse(session: Session) -> None:
        session.exec(select(Organization)).all()
        raise ValueError

    def store(session: Session) -> None:
        runs.append("store")
        session.add(Organization(name="stored"))

    with occupied_writer(ours):
        tasks = [asyncio.ensure_future(ours.write(work)) for work in (store, refuse)]
        await asyncio.sleep(0)
    await asyncio.gather(*tasks, return_exceptions=True)
    assert runs == ["store"]


async def test_a_row_that_vanished_fails_whoever_changes_it_and_nobody_else(ours: Database, theirs: Database) -> None:
    with theirs.transaction() as session:
        session.add(Organization(name="vanishing"))

    def rename(session: Session) -> None:
        row = session.exec(select(Organization).where(Organization.name == "vanishing")).one()
        session.connection().execute(delete(Organization).where(col(Organization.id) == row.id))
        row.name = "renamed"

    with occupied_writer(ours):
        tasks = [asyncio.ensure_future(ours.write(work)) for work in (naming("before"), rename, naming("after"))]
        await asyncio.sleep(0)
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(result) for result in results] == [type(None), StaleDataError, type(None)]
    assert names(theirs) == {"before", "vanishing", "after"}


async def test_a_write_that_the_database_refuses_fails_alone(ours: Database, theirs: Database) -> None:
    with occupied_writer(ours):
        writes = [asyncio.ensure_future(ours.write(naming(name))) for name in ("a", "a", "b")]
    outcomes = await asyncio.gather(*writes, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [type(None), IntegrityError, type(None)]
    assert names(theirs) == {"a", "b"}


async def test_a_write_whose_unique_key_was_taken_meanwhile_is_run_again_and_sees_the_row(
    ours: Database, theirs: Database
) -> None:
    looked, taken = threading.Event(), threading.Event()

    def take_first() -> str:
        with theirs.transaction() as session:
            session.add(first := Organization(name="wanted"))
            session.flush()
            taken.set()
            looked.wait(0.2)  # on SQLite nobody can look before this transaction ends
        return first.id

    def get_or_create(session: Session) -> str:
        found = session.exec(select(Organization).where(Organization.name == "wanted")).one_or_none()
        looked.set()
        session.add(row := found or Organization(name="wanted"))
        session.flush()
        return row.id

    first = asyncio.ensure_future(asyncio.to_thread(take_first))
    await asyncio.to_thread(taken.wait)
    assert await ours.write(get_or_create) == await first


async def test_writes_that_take_rows_in_opposite_order_both_succeed(ours: Database, theirs: Database) -> None:
    ids = {name: new_id() for name in ("a", "b")}
    await ours.write(lambda session: session.add_all([Organization(id=id_, name=name) for name, id_ in ids.items()]))
    both_have_one = threading.Barrier(2)

    def mark(name: str) -> Callable[[Session], None]:
        def work(session: Session) -> None:
            session.connection().execute(
                update(Organization).where(col(Organization.id) == ids[name]).values(refuse_wrong_npi=True)
            )

        return work

    def wait(_session: Session) -> None:
        with suppress(threading.BrokenBarrierError):  # on SQLite the other cannot have one
            both_have_one.wait(0.2)

    async def batch(database: Database, *order: str) -> None:
        first, second = (mark(name) for name in order)
        with occupied_writer(database):
            writes = [asyncio.ensure_future(database.write(work)) for work in (first, wait, second)]
            await asyncio.sleep(0)
        await asyncio.gather(*writes)

    await asyncio.gather(batch(ours, "a", "b"), batch(theirs, "b", "a"))
    await theirs.close()


async def test_more_writes_than_the_queue_holds_are_refused(url: str) -> None:
    database = Database(url, most_waiting=2)
    with occupied_writer(database):
        await asyncio.sleep(0)  # the writer takes the write that occupies it
        await asyncio.sleep(0)
        waiting = [asyncio.ensure_future(database.write(naming(name))) for name in ("a", "b")]
        await asyncio.sleep(0)
        with pytest.raises(Busy):
            await database.write(naming("c"))
    await asyncio.gather(*waiting)
    assert names(database) == {"a", "b"}
    await database.close()


@pytest.mark.parametrize("kind", ["reads", "writes"])
async def test_nobody_waits_for_the_database_longer_than_its_patience(url: str, kind: str) -> None:
    database = Database(url, patience_seconds=0.05)
    go = threading.Event()
    call, failure = (database.read, Busy) if kind == "reads" else (database.write, Uncertain)
    with pytest.raises(failure):
        await call(lambda _session: go.wait(10))
    go.set()
    await database.close()


async def test_a_write_for_which_nobody_waits_any_longer_is_not_begun(url: str, theirs: Database) -> None:
    database = Database(url, patience_seconds=0.05)
    go = threading.Event()
    occupying = asyncio.ensure_future(database.write(lambda _session: go.wait(10)))
    await asyncio.sleep(0)
    with pytest.raises(Uncertain):
        await database.write(naming("late"))
    go.set()
    await asyncio.gather(occupying, return_exceptions=True)
    await database.close()
    assert names(theirs) == set()


async def test_more_reads_than_may_wait_are_refused(url: str) -> None:
    database = Database(url, most_waiting=2)
    go = threading.Event()
    reads: list[asyncio.Future[bool]] = []
    while not any(read.done() for read in reads):
        reads.append(asyncio.ensure_future(database.read(lambda _session: go.wait(10))))
        for _ in range(3):  # so that a thread takes it if one is free
            await asyncio.sleep(0)
    assert isinstance(reads.pop().exception(), Busy)
    assert len(reads) > 2
    go.set()
    assert all(await asyncio.gather(*reads))
    await database.close()


async def test_a_read_that_fails_fails_alone(ours: Database) -> None:
    def look(session: Session) -> str:
        return session.exec(select(Organization.name)).one()

    def fail(_session: Session) -> None:
        raise LookupError

    def ask_nonsense(session: Session) -> None:
        session.connection().execute(text("SELECT nonsense"))

    await ours.write(naming("a"))
    for work, failure in ((fail, LookupError), (ask_nonsense, DBAPIError)):
        reads = [ours.read(look), ours.read(work), ours.read(look)]
        first, failed, last = await asyncio.gather(*reads, return_exceptions=True)
        assert (first, last) == ("a", "a")
        assert isinstance(failed, failure)


async def test_reads_that_wait_together_look_up_once_what_they_ask(ours: Database) -> None:
    lookup = Lookup(Organization, "name")
    await ours.write(lambda session: session.add_all([Organization(name="a"), Organization(name="b")]))
    with plans.recording() as statements:
        found = await asyncio.gather(
            *(ours.read(lambda session, name=name: lookup.all(session, name), [lookup.ask(name)]) for name in "abc")
        )
    assert [[row.name for row in rows] for rows in found] == [["a"], ["b"], []]
    assert len(statements) == 1


async def test_a_database_that_is_away_is_asked_once_for_all_who_wait() -> None:
    database = Database("postgresql://nobody@127.0.0.1:9/nothing")
    asked: list[None] = []

    def count(*_arguments: object) -> None:
        asked.append(None)

    event.listen(database.engine, "do_connect", count)
    outcomes = await asyncio.gather(*(database.write(naming("a")) for _ in range(50)), return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} == {OperationalError}
    assert len(asked) == 1
    await database.close()


async def test_a_write_that_breaks_the_connection_fails_alone(postgres: ThrowawayPostgres) -> None:
    ours = Database(postgres.create_database())
    migrations.upgrade(ours.engine)

    def break_off(session: Session) -> None:
        session.connection().execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))

    with occupied_writer(ours):
        writes = [asyncio.ensure_future(ours.write(work)) for work in (naming("a"), break_off, naming("b"))]
    outcomes = await asyncio.gather(*writes, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [type(None), OperationalError, type(None)]
    assert names(ours) == {"a", "b"}
    await ours.close()


def test_a_postgresql_that_vanishes_is_noticed_within_half_a_minute(postgres: ThrowawayPostgres) -> None:
    database = Database(postgres.create_database())
    with database.engine.connect() as connection:
        driver: Any = connection.connection.dbapi_connection
        with socket.socket(fileno=os.dup(driver.fileno())) as tcp:
            idle, interval, count, unanswered = (
                tcp.getsockopt(socket.IPPROTO_TCP, option)
                for option in (
                    socket.TCP_KEEPIDLE,
                    socket.TCP_KEEPINTVL,
                    socket.TCP_KEEPCNT,
                    socket.TCP_USER_TIMEOUT,
                )
            )
    database.dispose()
    assert idle + interval * count < 30
    assert 0 < unanswered < 30_000


async def test_a_read_sees_one_state_of_the_data(ours: Database, theirs: Database) -> None:
    def look(session: Session) -> list[int]:
        counts = [len(session.exec(select(Organization.id)).all())]
        with theirs.transaction() as other:
            other.add(Organization(name="added meanwhile"))
        return [*counts, len(session.exec(select(Organization.id)).all())]

    assert await ours.read(look) == [0, 0]
    assert names(ours) == {"added meanwhile"}


async def test_a_caller_who_stops_waiting_harms_nobody(ours: Database) -> None:
    with occupied_writer(ours):
        impatient = asyncio.ensure_future(ours.write(naming("a")))
        patient = asyncio.ensure_future(ours.write(naming("b")))
        await asyncio.sleep(0)
        impatient.cancel()
    await patient
    assert "b" in names(ours)


async def test_a_read_cannot_write(ours: Database) -> None:
    def sneak(session: Session) -> None:
        session.add(Organization(name="sneaked in"))
        session.commit()

    with pytest.raises(DBAPIError):
        await ours.read(sneak)
    await ours.write(naming("after"))
    assert names(ours) == {"after"}


async def test_a_commit_that_fails_leaves_it_open_and_is_not_run_again(ours: Database) -> None:
    """A constraint that is judged at the commit makes it fail."""
    with ours.transaction() as session:
        session.connection().execute(text("CREATE TABLE parents (id INTEGER PRIMARY KEY)"))
        session.connection().execute(
            text("CREATE TABLE children (parent INTEGER REFERENCES parents (id) DEFERRABLE INITIALLY DEFERRED)")
        )
    runs = []

    def orphan(session: Session) -> None:
        runs.append(1)
        session.connection().execute(text("INSERT INTO children VALUES (1)"))

    with pytest.raises(Uncertain) as caught:
        await ours.write(orphan)
    assert len(runs) == 1
    assert describe(caught.value) in ("Uncertain SQLITE_CONSTRAINT_FOREIGNKEY", "Uncertain 23503")
    await ours.write(naming("after"))
    assert names(ours) == {"after"}


@pytest.mark.parametrize("wanted", [("journal_mode", "wal"), ("synchronous", 2), ("foreign_keys", 1)])
def test_sqlite_is_durable_and_checks_references(tmp_path: Path, wanted: tuple[str, object]) -> None:
    database = Database(f"sqlite:///{tmp_path / 'new' / 'orders.db'}")
    for engine in (database.engine, database._read_engine):
        with engine.connect() as connection:
            assert connection.exec_driver_sql(f"PRAGMA {wanted[0]}").scalar_one() == wanted[1]
    database.dispose()


WRITER = """
import asyncio, sys
from case_orders.db import Database, new_id
from models import Organization

async def write(url):
    database = Database(url)
    sys.stdin.readline()
    for _ in range(10):
        await asyncio.gather(*(database.write(lambda s: s.add(Organization(name=new_id()))) for _ in range(10)))
    await database.close()

asyncio.run(write(sys.argv[1]))
"""


def test_processes_that_write_at_once_do_not_lock_each_other_out(tmp_path: Path) -> None:
    """SQLite has one writer at a time, and the others must wait for their turn."""
    url = f"sqlite:///{tmp_path}/shared.db"
    database = Database(url)
    migrations.upgrade(database.engine)
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, url], stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    with ThreadPoolExecutor() as pool:
        errors = [errors for _, errors in pool.map(lambda writer: writer.communicate("go\n"), writers)]
    assert errors == ["", ""]
    assert len(names(database)) == 200
    database.dispose()


async def test_a_moment_comes_back_as_it_was_in_utc(ours: Database) -> None:
    moment = datetime(2026, 3, 1, 12, 30, 15, 123456, tzinfo=timezone(timedelta(hours=-5)))
    await ours.write(lambda session: session.add(Organization(name="a", created_at=moment)))
    stored = await ours.read(lambda session: session.exec(select(Organization.created_at)).one())
    assert stored == moment
    assert stored.tzinfo is UTC


async def test_a_moment_is_in_utc_whatever_the_zone_of_a_session_behind_a_pooler(postgres: ThrowawayPostgres) -> None:
    url = postgres.create_database()
    name = url.rpartition("/")[2]
    database = Database(f"{url.replace('postgresql+psycopg:', 'postgresql:')}?pooler=transaction")
    try:
        with database.transaction() as session:
            session.connection().execute(text(f"ALTER DATABASE \"{name}\" SET timezone = 'Europe/Berlin'"))
        database.dispose()
        moment = now()
        with database.snapshot() as session:
            assert session.connection().execute(text("SHOW timezone")).scalar_one() == "Europe/Berlin"
            found = session.exec(select(literal(moment, UtcDateTime()))).one()
        assert found == moment
        assert found.tzinfo is UTC
    finally:
        await database.close()


def test_ids_sort_by_their_making() -> None:
    ids = [new_id() for _ in range(1000)]
    assert ids == sorted(ids)
    assert now().tzinfo is UTC


async def test_a_command_that_looks_may_pause_and_a_request_may_not(postgres: ThrowawayPostgres) -> None:
    def limits(session: Session) -> list[str]:
        names = ("idle_in_transaction_session_timeout", "statement_timeout")
        return [session.connection().exec_driver_sql(f"SHOW {name}").scalar_one() for name in names]

    database = Database(postgres.create_database())
    with database.snapshot() as session:
        assert limits(session) == ["0", "0"]
    assert await database.read(limits) == ["10s", "30s"]
    await database.close()
