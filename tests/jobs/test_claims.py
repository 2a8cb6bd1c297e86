"""Claims: every job is one worker's at a time, the oldest first, and nobody crowds out anybody else."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, event, insert

from case_orders import claims
from case_orders.db import Database, new_id, now
from models import Job, Organization
from models.jobs import Claimed, JobKind, JobState
from tests.support import plans
from tests.support.jobs import EXPIRED, MINUTE, claim, ids


def test_many_workers_that_claim_at_once_never_get_the_same_job(database: Database, organization_id: str) -> None:
    with database.transaction() as session:
        session.add_all(
            [Job(organization_id=organization_id, kind=JobKind.FETCH_DOCUMENT, subject=new_id()) for _ in range(120)]
        )
    together = threading.Barrier(4)

    def work_off() -> list[str]:
        together.wait()
        claimed: list[str] = []
        misses = 0
        while misses < 3:  # to find nothing may mean that others hold what is left, for a moment
            jobs = claim(database, limit=7)
            claimed += ids(jobs)
            misses = 0 if jobs else misses + 1
        return claimed

    with ThreadPoolExecutor(4) as workers:
        taken = Counter(job for worker in [workers.submit(work_off) for _ in range(4)] for job in worker.result())
    assert len(taken) == 120
    assert set(taken.values()) == {1}


def test_a_claimed_job_is_not_given_to_another_while_its_lease_runs(
    database: Database, promise: Callable[..., str]
) -> None:
    promise()
    (job,) = claim(database)
    assert job.attempt == 1
    assert job.leased_until is not None
    assert claim(database) == []


def test_a_job_whose_lease_ran_out_is_given_to_another(database: Database, promise: Callable[..., str]) -> None:
    promise()
    claim(database, lease=EXPIRED)
    (job,) = claim(database)
    assert job.attempt == 2


def test_what_was_due_first_is_claimed_first(database: Database, promise: Callable[..., str]) -> None:
    later, first, between = (promise(delay=-timedelta(seconds=age)) for age in (1, 3, 2))
    assert ids(claim(database, limit=2)) == [first, between]
    assert ids(claim(database)) == [later]


def test_a_job_is_not_claimed_before_it_is_due(database: Database, promise: Callable[..., str]) -> None:
    promise(delay=MINUTE)
    assert claim(database) == []


def test_no_destination_gets_more_jobs_than_its_limit(database: Database, promise: Callable[..., str]) -> None:
    for destination in ["pharmacy"] * 5 + ["other"] * 2 + [""] * 4:
        promise(destination)
    assert Counter(job.destination for job in claim(database, cap=4)) == {"pharmacy": 3, "other": 2, "": 4}


def test_jobs_under_way_count_for_the_limit_of_their_destination(
    database: Database, promise: Callable[..., str]
) -> None:
    for destination in ["pharmacy"] * 5 + ["other"]:
        promise(destination)
    held = claim(database, limit=2, cap=4)
    assert [job.destination for job in held] == ["pharmacy"] * 2
    held += claim(database, cap=4, under_way=held)
    assert [job.destination for job in held] == ["pharmacy"] * 3 + ["other"]
    assert claim(database, cap=4, under_way=held) == []


def test_a_destination_with_many_jobs_does_not_keep_others_from_being_found(
    database: Database, promise: Callable[..., str]
) -> None:
    for destination in ["pharmacy"] * 5 + ["other"]:
        promise(destination)
    held = claim(database, limit=2, cap=3)
    assert [job.destination for job in claim(database, limit=4, cap=3, under_way=held)] == ["other"]


def crowd(database: Database, organization_id: str, jobs: int) -> list[Claimed]:
    """This many jobs for one pharmacy, all due before any other; what a worker has of them that may have no more."""
    long_ago = now() - timedelta(days=1)
    job = {"organization_id": organization_id, "kind": JobKind.SUBMIT_ORDER, "subject": "", "destination": "crowded"}
    job |= {"state": JobState.WAITING, "due_at": long_ago, "attempt": 0, "created_at": long_ago}
    with database.transaction() as session:
        session.connection().execute(insert(Job), [job | {"id": new_id()} for _ in range(jobs)])
    return claim(database, limit=8, cap=4)


def test_jobs_behind_a_crowd_are_found(database: Database, promise: Callable[..., str], organization_id: str) -> None:
    under_way = crowd(database, organization_id, 40)
    hidden = [promise(f"pharmacy-{number}") for number in range(3)]
    hidden += [promise("crowded", kind=JobKind.CANCEL_ORDER), promise(kind=JobKind.APPLY_REPORT)]
    assert set(ids(claim(database, limit=8, cap=4, under_way=under_way))) == set(hidden)


def test_a_round_visits_every_destination_and_then_ends(
    database: Database, promise: Callable[..., str], organization_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claims, "_STRIDE", 4)
    under_way = crowd(database, organization_id, 40)
    for number in range(7):
        promise(f"idle-{number}", delay=MINUTE)
    last = promise("z")
    rounds: claims.Rounds = {}
    taken = [claim(database, limit=8, cap=4, under_way=under_way, rounds=rounds) for _ in range(3)]
    assert [ids(jobs) for jobs in taken] == [[], [], [last]]
    assert rounds == {}


def test_a_round_that_is_under_way_ends_with_the_crowd(database: Database, promise: Callable[..., str]) -> None:
    job = promise()
    rounds = {JobKind.SUBMIT_ORDER: "pharmacy"}
    assert ids(claim(database, rounds=rounds)) == [job]
    assert rounds == {}


def test_one_statement_goes_round_the_destinations_of_all_kinds(
    database: Database, promise: Callable[..., str], organization_id: str
) -> None:
    under_way = crowd(database, organization_id, 40)
    for kind in JobKind:
        promise(kind.value, kind=kind)
    with plans.statements(database.engine, "WITH RECURSIVE") as statements:
        claim(database, limit=8, cap=4, under_way=under_way)
    assert len(statements) == 1


def test_a_claim_tells_what_a_worker_needs_to_know_of_the_job(database: Database, promise: Callable[..., str]) -> None:
    job_id = promise("pharmacy", kind=JobKind.CANCEL_ORDER)
    (job,) = claim(database)
    with database.transaction() as session:
        stored = session.get_one(Job, job_id)
    assert job._asdict() == {name: getattr(stored, name) for name in Claimed._fields}


def test_a_claim_costs_the_same_however_many_jobs_wait(
    database: Database, promise: Callable[..., str], organization_id: str
) -> None:
    """Counted in rows that PostgreSQL visits, and in steps of SQLite's machine."""
    efforts = []
    under_way: list[Claimed] = []
    for more in (300, 5000):
        under_way += crowd(database, organization_id, more)[: 3 - len(under_way)]
        if not database.is_sqlite:  # as it does by itself after a minute
            with database.transaction() as session:
                session.connection().exec_driver_sql("ANALYZE jobs")
        job = promise("other")
        with measured(database) as effort:
            assert ids(claim(database, limit=8, cap=4, under_way=under_way)) == [job]
        efforts.append(effort())
    assert efforts[1] < 1.2 * efforts[0] + 50


@contextmanager
def measured(database: Database) -> Iterator[Callable[[], float]]:
    """What the statements of the block cost, in a measure that does not hang on the clock."""
    steps: list[float] = []

    def count(connection: Connection, _cursor: object, statement: str, parameters: Any, *_: object) -> None:
        if not statement.startswith(("SELECT", "WITH")):
            return
        if database.is_sqlite:
            driver: Any = connection.connection.dbapi_connection
            driver.set_progress_handler(lambda: steps.append(1), 10)
            return
        plan = connection.connection.cursor()
        plan.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", parameters)
        ((explained,),) = plan.fetchall()
        steps.append(_visited(explained[0]["Plan"]))

    event.listen(database.engine, "before_cursor_execute", count)
    yield lambda: sum(steps)
    event.remove(database.engine, "before_cursor_execute", count)


def _visited(plan: dict[str, Any]) -> float:
    """How many rows a plan and all below it came upon."""
    here = plan["Actual Rows"] + plan.get("Rows Removed by Filter", 0) + plan.get("Rows Removed by Index Recheck", 0)
    return here * plan["Actual Loops"] + sum(_visited(part) for part in plan.get("Plans", ()))


def test_a_cancel_finds_room_at_a_pharmacy_that_is_asked_about_many_orders(
    database: Database, promise: Callable[..., str]
) -> None:
    for _ in range(20):
        promise("pharmacy", kind=JobKind.FOLLOW_ORDER)
    asked = claim(database, cap=8)
    assert len(asked) == 6
    canceling = [promise("pharmacy", kind=JobKind.CANCEL_ORDER) for _ in range(3)]
    assert ids(claim(database, cap=8, under_way=asked)) == canceling[:2]


def test_a_claim_that_goes_round_takes_no_job_twice(database: Database, promise: Callable[..., str]) -> None:
    """A job at the front that was taken is the oldest one of its destination too, as long as nothing is written."""
    first = promise(delay=-MINUTE)
    for _ in range(8):
        promise("crowded")
    taken = claim(database, limit=4, cap=1)
    assert first in ids(taken)
    assert len(set(ids(taken))) == len(taken) == 2


def test_deliveries_get_half_of_the_room_an_organization_half_of_that_and_a_host_half_of_that_again(
    database: Database, promise: Callable[..., str], organization_id: str
) -> None:
    with database.transaction() as session:
        others = [Organization(name=f"Other {number}") for number in range(2)]
        session.add_all(others)
        owners = [organization_id, *(other.id for other in others)]
    for owner in owners:
        for host in "aaabbbccc":
            promise(f"{host}-{owner}.example", kind=JobKind.DELIVER_WEBHOOK, owner=owner)
    held: list[Claimed] = []
    while more := claim(database, limit=16, under_way=held):
        held += more
    assert Counter(job.organization_id for job in held) == {owners[0]: 4, owners[1]: 4}
    assert set(Counter(job.destination for job in held).values()) == {2}
    applying = promise(kind=JobKind.APPLY_REPORT)
    assert ids(claim(database, limit=16, under_way=held)) == [applying]


def test_documents_which_are_held_in_memory_get_an_eighth_of_the_room(
    database: Database, promise: Callable[..., str]
) -> None:
    for number in range(5):
        promise(f"pharmacy-{number}", kind=JobKind.FETCH_DOCUMENT)
    following = promise("pharmacy-0", kind=JobKind.FOLLOW_ORDER)
    taken = claim(database, limit=16)
    assert Counter(job.kind for job in taken) == {JobKind.FETCH_DOCUMENT: 2, JobKind.FOLLOW_ORDER: 1}
    assert following in ids(taken)
