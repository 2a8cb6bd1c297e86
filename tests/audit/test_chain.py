"""Chains have no gaps, whoever appends to them; what was done to one behind the service's back is found."""

import asyncio
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest
from sqlalchemy import Connection, event, text
from sqlmodel import Session

from case_orders import audit, keyring
from case_orders.audit import Entry
from case_orders.audit.verification import Head, heads, verify
from case_orders.db import Database, new_id
from models import AuditHead
from tests.support import keys
from tests.support.trail import entries

CHAIN = "123e4567-e89b-12d3-a456-426614174100"


@pytest.fixture
def database(new_database: Callable[[], str]) -> Iterator[Database]:
    """A database to do evil in."""
    database = Database(new_database())
    yield database
    database.dispose()


def telling(outcome: str = "200", chain: str = CHAIN) -> Entry:
    return Entry("key:1", "getCase", outcome, chain, {"case_id": new_id()}, "2001:db8::1", "req_1")


def tell(database: Database, *told: Entry) -> None:
    with database.transaction() as session:
        for entry in told:
            audit.record(session, entry)


def faults(database: Database, *exported: Head) -> list[str | None]:
    with database.snapshot() as session:
        return [verdict.fault for verdict in verify(session, exported={head.chain: head for head in exported})]


def head(database: Database) -> Head:
    with database.snapshot() as session:
        (found,) = heads(session, CHAIN)
        return found


def sql(database: Database, *statements: str) -> None:
    with database.engine.begin() as connection:
        for statement in statements:
            connection.execute(text(statement))


@pytest.fixture
def chain(database: Database) -> Database:
    """Five entries of one organization, and others of two more chains."""
    for number in range(1, 6):
        tell(database, telling(str(number)), telling(chain="none"), telling(chain="other"))
    return database


# ---- whole chains -----------------------------------------------------------------------------------------------


def test_a_chain_counts_from_one_and_is_whole(chain: Database) -> None:
    assert [(entry.position, entry.outcome) for entry in entries(chain, CHAIN)] == [(n, str(n)) for n in range(1, 6)]
    assert faults(chain, head(chain)) == [None, None, None]


def test_a_chain_is_whole_under_the_keys_of_different_times(chain: Database) -> None:
    new, old = keyring.new_entry(), keys.RING
    keys.use(new, old)
    tell(chain, telling())
    assert len({entry.key_id for entry in entries(chain, CHAIN)}) == 2
    assert faults(chain) == [None, None, None]
    keys.use(new)
    assert faults(chain)[0] == "entry 1 was made under a key that is not in the ring"


def test_many_entries_of_a_transaction_are_written_by_three_statements(database: Database) -> None:
    statements: list[str] = []

    def count(_connection: object, _cursor: object, statement: str, *_more: object) -> None:
        statements.append(statement)

    event.listen(database.engine, "before_cursor_execute", count)
    tell(database, *(telling(chain=f"chain-{number % 7}") for number in range(200)))
    event.remove(database.engine, "before_cursor_execute", count)
    assert [statement.split()[0] for statement in statements if "audit" in statement] == ["INSERT", "INSERT", "UPDATE"]
    assert faults(database) == [None] * 7


def test_to_verify_a_long_chain_takes_no_more_memory_than_a_short_one(database: Database) -> None:
    peaks = []
    for entries_more in (2000, 6000):
        tell(database, *(telling() for _ in range(entries_more)))
        tracemalloc.start()
        assert faults(database) == [None]
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.5 * peaks[0]


PROGRAM = """
import sys
from case_orders import audit
from case_orders.db import Database
from tests.support import keys
keys.use(sys.argv[2])
database = Database(sys.argv[1])
for number in range(60):
    with database.transaction() as session:
        for chain in sys.argv[3:]:
            audit.record(session, audit.Entry("system", "append", str(number), chain))
"""


def test_processes_that_append_at_once_keep_chains_without_gaps(database: Database) -> None:
    url = database.engine.url.render_as_string(hide_password=False)
    orders = (("a", "b", "c"), ("b", "a", "d"))
    processes = [subprocess.Popen([sys.executable, "-c", PROGRAM, url, keys.RING, *order]) for order in orders]
    assert [process.wait(timeout=60) for process in processes] == [0, 0]
    with database.snapshot() as session:
        verdicts = {verdict.chain: verdict for verdict in verify(session)}
    assert {verdict.fault for verdict in verdicts.values()} == {None}
    assert {name: verdict.entries for name, verdict in verdicts.items()} == {"a": 120, "b": 120, "c": 60, "d": 60}


# ---- broken chains ----------------------------------------------------------------------------------------------

HERE = f"chain = '{CHAIN}' AND position"


@pytest.mark.parametrize(
    "change",
    [
        "at = '2020-01-01 00:00:00+00:00'",
        "actor = 'key:2'",
        "action = 'getOrder'",
        "records = '{}'",
        "outcome = '404'",
        "client = NULL",
        "request_id = 'req_2'",
    ],
)
def test_a_changed_entry_is_found(chain: Database, change: str) -> None:
    sql(chain, f"UPDATE audit_entries SET {change} WHERE {HERE} = 3")
    assert faults(chain) == ["entry 3 was changed, or the one before it", None, None]


def test_an_entry_with_the_hmac_of_another_is_found(chain: Database) -> None:
    sql(chain, f"UPDATE audit_entries SET mac = (SELECT mac FROM audit_entries WHERE {HERE} = 4) WHERE {HERE} = 3")
    assert faults(chain)[0] == "entry 3 was changed, or the one before it"


@pytest.mark.parametrize("position", [1, 3])
def test_a_removed_entry_is_found(chain: Database, position: int) -> None:
    sql(chain, f"DELETE FROM audit_entries WHERE {HERE} = {position}")
    assert faults(chain)[0] == f"entry {position} is missing"


def test_a_removed_entry_is_found_when_the_others_move_up(chain: Database) -> None:
    sql(
        chain,
        f"DELETE FROM audit_entries WHERE {HERE} = 3",
        f"UPDATE audit_entries SET position = 3 WHERE {HERE} = 4",
        f"UPDATE audit_entries SET position = 4 WHERE {HERE} = 5",
        f"UPDATE audit_heads SET position = 4 WHERE chain = '{CHAIN}'",
    )
    assert faults(chain)[0] == "entry 3 was changed, or the one before it"


def test_entries_that_changed_places_are_found(chain: Database) -> None:
    sql(
        chain,
        f"UPDATE audit_entries SET position = 0 WHERE {HERE} = 3",
        f"UPDATE audit_entries SET position = 3 WHERE {HERE} = 4",
        f"UPDATE audit_entries SET position = 4 WHERE {HERE} = 0",
    )
    assert faults(chain)[0] == "entry 3 was changed, or the one before it"


def test_an_entry_that_was_moved_to_another_chain_is_found(chain: Database) -> None:
    sql(
        chain,
        "DELETE FROM audit_entries WHERE chain = 'other' AND position = 1",
        f"UPDATE audit_entries SET chain = 'other' WHERE {HERE} = 1",
    )
    assert faults(chain) == ["entry 1 is missing", None, "entry 1 was changed, or the one before it"]


def cut(chain: Database, *, head_too: bool) -> None:
    sql(chain, f"DELETE FROM audit_entries WHERE {HERE} > 3")
    if head_too:
        last = f"(SELECT mac FROM audit_entries WHERE {HERE} = 3)"
        sql(chain, f"UPDATE audit_heads SET position = 3, mac = {last} WHERE chain = '{CHAIN}'")


def test_a_cut_tail_is_found_by_the_head(chain: Database) -> None:
    cut(chain, head_too=False)
    assert faults(chain)[0] == "the chain does not end where its head says"


def test_a_cut_tail_whose_head_was_set_back_is_found_by_an_exported_head(chain: Database) -> None:
    exported = head(chain)
    cut(chain, head_too=True)
    assert faults(chain)[0] is None
    assert faults(chain, exported)[0] == "the chain ends before the head that was exported"


def test_a_tail_that_was_cut_and_grew_again_is_found_by_an_exported_head(chain: Database) -> None:
    exported = head(chain)
    cut(chain, head_too=True)
    tell(chain, telling(), telling(), telling())
    assert faults(chain)[0] is None
    assert faults(chain, exported)[0] == "entry 5 is another than when the head was exported"


def test_a_chain_that_was_removed_as_a_whole_is_found_by_an_exported_head(chain: Database) -> None:
    exported = head(chain)
    sql(chain, *(f"DELETE FROM {table} WHERE chain = '{CHAIN}'" for table in ("audit_entries", "audit_heads")))
    assert faults(chain) == [None, None]
    assert faults(chain, exported)[0] is not None


def test_a_chain_without_its_head_is_found(chain: Database) -> None:
    sql(chain, f"DELETE FROM audit_heads WHERE chain = '{CHAIN}'")
    assert faults(chain)[0] == "the chain does not end where its head says"


# ---- transactions -----------------------------------------------------------------------------------------------


def outcomes(database: Database) -> list[str]:
    return [entry.outcome for entry in entries(database, CHAIN)]


def test_what_is_rolled_back_leaves_no_entry(database: Database) -> None:
    with Session(database.engine) as session:
        audit.record(session, telling("undone"))
        session.rollback()
        audit.record(session, telling("done"))
        session.commit()
        session.commit()
    assert outcomes(database) == ["done"]


def test_a_transaction_that_fails_leaves_no_entry(database: Database) -> None:
    with suppress(ZeroDivisionError), database.transaction() as session:
        audit.record(session, telling())
        raise ZeroDivisionError
    assert outcomes(database) == []


def test_a_savepoint_that_is_undone_takes_its_entries_with_it_and_no_others(database: Database) -> None:
    with database.transaction() as session:
        audit.record(session, telling("before"))
        with session.begin_nested():
            audit.record(session, telling("kept"))
        with suppress(ZeroDivisionError), session.begin_nested():
            with session.begin_nested():
                audit.record(session, telling("undone"))
            audit.record(session, telling("undone too"))
            raise ZeroDivisionError
        audit.record(session, telling("after"))
    assert outcomes(database) == ["before", "kept", "after"]


async def test_of_writes_that_share_a_commit_each_leaves_its_own_entry_or_none(new_database: Callable[[], str]) -> None:
    database = Database(new_database())

    def failing(session: Session) -> None:
        audit.record(session, telling("undone"))
        raise ZeroDivisionError

    def work(number: int) -> Callable[[Session], None]:
        return failing if number % 3 == 0 else lambda session: audit.record(session, telling(str(number)))

    done = await asyncio.gather(*(database.write(work(number)) for number in range(30)), return_exceptions=True)
    assert sum(isinstance(result, ZeroDivisionError) for result in done) == 10
    assert outcomes(database) == [str(number) for number in range(30) if number % 3]
    assert faults(database) == [None]
    await database.close()


def test_the_ends_of_chains_are_taken_after_everything_else(database: Database) -> None:
    order: list[str] = []

    def look(_connection: Connection, _cursor: object, statement: str, *_more: object) -> None:
        order.append(statement.split()[2] if statement.startswith("INSERT") else statement.split()[0])

    event.listen(database.engine, "before_cursor_execute", look)
    with database.transaction() as session:
        audit.record(session, telling())
        session.add(AuditHead(chain="pending", position=0, mac=b""))
    event.remove(database.engine, "before_cursor_execute", look)
    assert order[-4:] == ["audit_heads", "audit_heads", "audit_entries", "UPDATE"]
