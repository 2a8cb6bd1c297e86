"""Probes for whoever operates the service."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from httpx2 import ASGITransport
from sqlalchemy import text

from case_orders import audit, keyring
from case_orders.app import create_app
from case_orders.db import Database, now
from case_orders.documents import DocumentStore
from case_orders.keyring import KeyFile
from case_orders.settings import Settings
from models import Job, Organization
from models.jobs import JobKind
from tests.support import keys
from tests.support.contract_client import ContractClient
from tests.support.world import Tenant


@pytest.fixture
def quiet(new_database: Callable[[], str], tmp_path: Path) -> Settings:
    """Settings of a service of its own, without work."""
    return Settings(data_dir=tmp_path, database_url=new_database())


async def probe(settings: Settings, path: str) -> tuple[int, dict[str, bool]]:
    """Status and checks of a probe of a service with these settings."""
    database = Database(settings.database_url)
    async with ContractClient(transport=ASGITransport(create_app(settings, database))) as client:
        answer = await client.get(f"http://test{path}")
    await database.close()
    data = answer.json().get("data", {"checks": []})
    return answer.status_code, {check["name"]: check["ok"] for check in data["checks"]}


async def test_a_service_that_can_work_is_ready(quiet: Settings) -> None:
    assert await probe(quiet, "/readyz") == (
        200,
        {"database": True, "migrations": True, "keys": True, "documents": True, "jobs": True},
    )


async def test_a_process_that_serves_is_alive(quiet: Settings) -> None:
    assert await probe(quiet, "/livez") == (200, {})


async def test_a_service_whose_jobs_nobody_does_tells_of_them_and_is_ready(quiet: Settings, us: Tenant) -> None:
    database = Database(quiet.database_url)
    with database.transaction() as session:
        session.add(Organization(id=us.organization_id, name=us.name))
        session.flush()
        overdue = now() - timedelta(minutes=6)
        session.add(Job(organization_id=us.organization_id, kind=JobKind.SUBMIT_ORDER, subject="1", due_at=overdue))
    database.dispose()
    status, checks = await probe(quiet, "/readyz")
    assert (status, [name for name, ok in checks.items() if not ok]) == (200, ["jobs"])


async def test_a_service_that_was_not_migrated_is_not_ready_but_alive(tmp_path: Path) -> None:
    empty = Settings(data_dir=tmp_path)
    status, checks = await probe(empty, "/readyz")
    assert status == 503
    assert not checks["migrations"]
    assert await probe(empty, "/livez") == (200, {})


async def test_a_service_whose_database_is_of_a_newer_version_is_not_ready_and_says_why(quiet: Settings) -> None:
    database = Database(quiet.database_url)
    with database.transaction() as session:
        session.connection().execute(text("UPDATE alembic_version SET version_num = '9999'"))
    async with ContractClient(transport=ASGITransport(create_app(quiet, database))) as client:
        answer = await client.get("http://test/readyz")
    await database.close()
    (check,) = [check for check in answer.json()["data"]["checks"] if not check["ok"]]
    assert check["name"] == "migrations"
    assert "newer than this version" in check["detail"]


async def test_a_service_without_the_key_of_its_database_is_not_ready(quiet: Settings) -> None:
    database = Database(quiet.database_url)
    with database.transaction() as session:
        audit.record(session, audit.Entry("operator:jane", "keys create", "done"))
    database.dispose()
    keys.use(keyring.new_entry())
    status, checks = await probe(quiet, "/readyz")
    assert (status, [name for name, ok in checks.items() if not ok]) == (503, ["keys"])
    keys.use(keyring.new_entry(), keys.RING)
    assert (await probe(quiet, "/readyz"))[0] == 200


async def test_a_service_whose_key_file_is_gone_is_not_ready(quiet: Settings, tmp_path: Path) -> None:
    file = KeyFile(tmp_path / "encryption-keys")
    file.make()
    keyring.install(file.ring)
    assert (await probe(quiet, "/readyz"))[0] == 200
    file.path.unlink()
    status, checks = await probe(quiet, "/readyz")
    assert (status, [name for name, ok in checks.items() if not ok]) == (503, ["keys"])


async def test_probes_that_come_at_once_look_once(quiet: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    looks, check = [], DocumentStore.check

    async def counted(store: DocumentStore) -> None:
        looks.append(store)
        await check(store)

    monkeypatch.setattr(DocumentStore, "check", counted)
    database = Database(quiet.database_url)
    async with ContractClient(transport=ASGITransport(create_app(quiet, database))) as client:
        answers = await asyncio.gather(*(client.get("http://test/readyz") for _ in range(20)))
    await database.close()
    assert {answer.status_code for answer in answers} == {200}
    assert len(looks) == 1


async def test_a_probe_is_told_for_a_second_what_the_one_before_it_was_told(quiet: Settings, tmp_path: Path) -> None:
    database = Database(quiet.database_url)
    async with ContractClient(transport=ASGITransport(create_app(quiet, database))) as client:
        answers = [await client.get("http://test/readyz")]
        (tmp_path / "documents").rmdir()
        (tmp_path / "documents").write_bytes(b"")
        answers.append(await client.get("http://test/readyz"))
    await database.close()
    assert [answer.status_code for answer in answers] == [200, 200]


async def test_a_service_without_its_documents_is_not_ready(quiet: Settings, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    settings = quiet.model_copy(update={"document_store": f"file://{tmp_path}/file/documents"})
    status, checks = await probe(settings, "/readyz")
    assert (status, [name for name, ok in checks.items() if not ok]) == (503, ["documents"])
