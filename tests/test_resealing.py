"""Everything sealed comes under the current key, however often that is interrupted."""

import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlmodel import Session, select

from case_orders import keyring, progress, resealing
from case_orders.auth import SCOPES, Caller
from case_orders.db import Database, new_id, now
from case_orders.documents import DocumentStore
from case_orders.keyring import SealBroken, UnknownKey
from handlers.cases import perform_case_action
from models import Case, Document, IdempotentAnswer, Order, PharmacyReport, Webhook
from models.order_states import OrderState
from models.sealing import SealedTable
from tests.support import keys
from tests.support.orders import documented
from tests.support.postgres import ThrowawayPostgres
from tests.support.world import Tenant, populate

OLD, NEW = keyring.new_entry(), keyring.new_entry()
PDF = b"%PDF-1.7\n%%EOF\n"


@pytest.fixture
def sealed(new_database: Callable[[], str]) -> Iterator[Database]:
    """A database with rows in every table that has something sealed, all under the old key; both keys are there."""
    keys.use(OLD)
    database = Database(new_database())
    with database.transaction() as session:
        _fill(session)
    keys.use(NEW, OLD)
    yield database
    database.dispose()


def _fill(session: Session) -> None:
    tenant = Tenant("Clinic")
    populate(session, tenant)
    caller = Caller(tenant.organization_id, "", SCOPES)
    for number in range(3):
        perform_case_action(session, caller, tenant.case_id, documented())
        session.add(Webhook(organization_id=tenant.organization_id, url="https://a.example", events=[], secret="s"))
        answer = {"operation": "createCase", "key": f"a/{number}", "fingerprint": "f", "answer": {}}
        session.add(IdempotentAnswer(organization_id=tenant.organization_id, **answer))
    for order in session.exec(select(Order)).all():
        session.add(
            PharmacyReport(pharmacy_id=order.pharmacy_id, message_id=new_id(), order_id=order.id, body={"a": 1})
        )
        session.add(
            Document(
                organization_id=tenant.organization_id,
                order_id=order.id,
                source_id="prescription",
                source_url="https://a.example",
                file_name="a.pdf",
                stored_at=now(),
            )
        )


@pytest.fixture
async def store(sealed: Database, tmp_path: Path) -> DocumentStore:
    """Where the documents of these rows lie, all under the old key but one that is missing."""
    store = DocumentStore.open(str(tmp_path))
    keys.use(OLD)
    for key in storage_keys(sealed)[1:]:
        await store.put(key, PDF)
    keys.use(NEW, OLD)
    return store


def storage_keys(database: Database) -> list[str]:
    with database.transaction() as session:
        return [document.storage_key for document in session.exec(select(Document))]


def stale(database: Database) -> int:
    with database.transaction() as session:
        return resealing.stale_rows(session)


def open_all(database: Database) -> int:
    """Open every sealed row; how many there are."""
    with database.transaction() as session:
        rows = [row for model in SealedTable.__subclasses__() for row in session.exec(select(model))]
        return sum(isinstance(row.opened(), dict) for row in rows)


def reseal(database: Database) -> Counter[str]:
    return sum(resealing.reseal_rows(database), Counter())


def test_every_table_with_something_sealed_is_tried_here(sealed: Database) -> None:
    with sealed.transaction() as session:
        for model in SealedTable.__subclasses__():
            assert session.exec(select(model)).first() is not None, model


def test_afterwards_everything_opens_without_the_old_key(sealed: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resealing, "BATCH", 2)
    rows = open_all(sealed)
    assert stale(sealed) == rows
    assert reseal(sealed) == Counter(resealed=rows)
    assert stale(sealed) == 0
    keys.use(NEW)
    assert open_all(sealed) == rows
    keys.use(OLD)
    with pytest.raises(UnknownKey):
        open_all(sealed)


def test_a_second_time_nothing_is_left_to_do(sealed: Database) -> None:
    reseal(sealed)
    assert reseal(sealed) == Counter()


PROGRAM = """
import os, sys
from case_orders import resealing
from case_orders.db import Database
from tests.support import keys
keys.use(sys.argv[2], sys.argv[3])
resealing.BATCH, batches, reseal = 2, [], resealing._reseal
def killed(session, table, rows):
    outcome = reseal(session, table, rows)
    batches.append(outcome)
    if len(batches) == 5:
        os.kill(os.getpid(), 9)
    return outcome
resealing._reseal = killed
for outcome in resealing.reseal_rows(Database(sys.argv[1])):
    pass
"""


def test_a_run_that_is_killed_in_the_middle_of_a_transaction_is_taken_up_by_the_next(sealed: Database) -> None:
    rows, url = open_all(sealed), sealed.engine.url.render_as_string(hide_password=False)
    killed = subprocess.run([sys.executable, "-c", PROGRAM, url, NEW, OLD], check=False, timeout=60)
    assert killed.returncode == -9
    left = stale(sealed)
    assert rows - 8 <= left < rows
    assert open_all(sealed) == rows
    assert reseal(sealed)[resealing.RESEALED] == left
    keys.use(NEW)
    assert open_all(sealed) == rows


def test_what_the_service_writes_meanwhile_is_kept(sealed: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resealing, "BATCH", 1)
    for number, _ in enumerate(resealing.reseal_rows(sealed)):
        with sealed.transaction() as session:
            for order in session.exec(select(Order)):
                order.tracking_number = f"track-{number}"
            for case in session.exec(select(Case)):
                case.patient = case.patient | {"firstName": f"Jane {number}"}
            if number == 0:
                progress.move(session, session.exec(select(Order)).first() or Order(), OrderState.PROCESSING)
    assert stale(sealed) == 0
    keys.use(NEW)
    with sealed.transaction() as session:
        assert {order.tracking_number for order in session.exec(select(Order))} == {f"track-{number}"}
        assert {case.patient["firstName"] for case in session.exec(select(Case))} == {f"Jane {number}"}


def test_a_row_that_does_not_open_stays_as_it_is_and_is_counted(sealed: Database) -> None:
    rows = open_all(sealed)
    keys.use(keyring.new_entry())
    with sealed.transaction() as session:
        broken = Case(organization_id=session.exec(select(Case.organization_id)).first() or "", patient={"a": 1})
        session.add(broken)
    keys.use(NEW, OLD)
    assert reseal(sealed) == Counter(resealed=rows, broken=1)
    with sealed.transaction() as session, pytest.raises(SealBroken):
        _ = session.get_one(Case, broken.id).patient


async def test_documents_are_sealed_under_the_current_key_and_stay_the_same(
    sealed: Database, store: DocumentStore
) -> None:
    lost, *held = storage_keys(sealed)
    old, new = OLD.partition(":")[0], NEW.partition(":")[0]
    assert await resealing.documents_by_key(sealed, store) == {old: len(held)}
    for resealed, current in ((len(held), 1), (0, len(held) + 1)):
        found: Counter[str] = Counter()
        async for outcome in resealing.reseal_documents(sealed, store):
            found += outcome
        assert found == Counter(resealed=resealed, current=current)
    assert await resealing.documents_by_key(sealed, store) == {new: len(held)}
    keys.use(NEW)
    assert [await store.read(key) for key in held] == [PDF] * len(held)
    assert lost not in held


async def test_a_document_that_was_put_for_another_key_is_counted_and_stays(
    sealed: Database, store: DocumentStore, tmp_path: Path
) -> None:
    _, one, other = storage_keys(sealed)
    (tmp_path / one).write_bytes((tmp_path / other).read_bytes())
    found: Counter[str] = Counter()
    async for outcome in resealing.reseal_documents(sealed, store):
        found += outcome
    assert found == Counter(resealed=1, broken=1, current=1)


def test_a_row_that_the_service_holds_is_left_for_the_next_run(postgres: ThrowawayPostgres) -> None:
    from case_orders import migrations

    database = Database(postgres.create_database())
    migrations.upgrade(database.engine)
    keys.use(OLD)
    with database.transaction() as session:
        _fill(session)
    keys.use(NEW, OLD)
    with database.transaction() as session:
        progress.lock(session, session.exec(select(Order.id)).first() or "")
        reseal(database)
        assert stale(database) == 1
    assert reseal(database) == Counter(resealed=1)
    database.dispose()
