"""Planted needles: what is sealed is found nowhere at rest, neither as it is nor in base64 or hexadecimal."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import psycopg
import pytest
from psycopg import sql
from sqlmodel import select

from case_orders import migrations
from case_orders.db import Database, new_id, now
from case_orders.edge.answers import rfc3339
from case_orders.pharmacies.signing import sign_report
from models import Document
from models.sealing import SealedTable
from tests.reliability.deployment import Deployment, deployed
from tests.support.needles import MARK, NEEDLES, found, needle, placement
from tests.support.postgres import ThrowawayPostgres
from tests.support.world import REPORT_SECRET, Tenant, populate

PATIENCE_SECONDS = 30


@pytest.mark.parametrize("lead", range(3))
def test_a_needle_is_found_in_each_of_its_forms(lead: int) -> None:
    hidden = b"x" * lead + MARK.encode() + b"more"
    for haystack in (hidden, base64.b64encode(hidden), hidden.hex().encode(), hidden.hex().upper().encode()):
        assert found(NEEDLES, haystack) == {MARK.encode()}


# ---- a deployment ------------------------------------------------------------------------------------------------


@dataclass
class Scene:
    """A service, and everything that it leaves at rest."""

    deployment: Deployment
    database: Database
    tenant: Tenant
    server: ThrowawayPostgres | None
    secrets: set[bytes] = field(default_factory=set)

    async def call(self, method: str, path: str, **options: Any) -> httpx2.Response:
        headers = {**self.tenant.headers, "Idempotency-Key": new_id()} | options.pop("headers", {})
        async with httpx2.AsyncClient(headers=headers, trust_env=False) as client:
            return await client.request(method, f"{self.deployment.url}/api/v1{path}", **options)

    async def ask(self, method: str, path: str, **options: Any) -> Any:
        answer = await self.call(method, path, **options)
        assert answer.is_success, answer.text
        return answer.json().get("data")

    def at_rest(self) -> Iterator[tuple[str, bytes]]:
        """Files of the service and of the database, its log, and dumps."""
        folder = self.deployment.settings.data_dir
        written = [*folder.rglob("*"), self.deployment.service.log, *(self.server.files() if self.server else ())]
        for path in written:
            if path.is_file():
                yield str(path), path.read_bytes()
        if self.server:
            yield from _dumped(self.database)

    def leaks(self) -> dict[str, set[bytes]]:
        needles = NEEDLES | self.secrets
        return {name: hit for name, content in self.at_rest() if (hit := found(needles, content))}


def _dumped(database: Database) -> Iterator[tuple[str, bytes]]:
    """Every table as pg_dump writes it."""
    url = database.engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(url) as connection:
        for (table,) in connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall():
            with connection.cursor().copy(sql.SQL("COPY {} TO STDOUT").format(sql.Identifier(table))) as copy:
                yield f"dump of {table}", b"".join(map(bytes, copy))


@pytest.fixture
async def scene(server: ThrowawayPostgres | None, tmp_path: Path) -> AsyncIterator[Scene]:
    data, tenant = tmp_path / "data", Tenant("Clinic")
    url = server.create_database() if server else f"sqlite:///{data}/case-orders.db"
    database = Database(url)
    migrations.upgrade(database.engine)
    async with deployed(url, tmp_path, data_dir=data, log_level="DEBUG") as deployment:
        with database.transaction() as session:
            populate(session, tenant, deployment.pharmacy_url)
        await deployment.service.start()
        await deployment.ready()
        yield Scene(deployment, database, tenant, server)
    database.dispose()


# ---- planting ----------------------------------------------------------------------------------------------------


async def plant(scene: Scene) -> str:
    """One of everything that is sealed: a case, an order with reports, documents, a webhook, kept answers."""
    patient = {"firstName": needle("Jane"), "lastName": needle("Doe"), "email": f"{needle('Mail')}@example.com"}
    case = await scene.ask("POST", "/cases", json={"patient": patient, "reference": "plain-reference"})
    url = f"{scene.deployment.receiver.url}?token={needle('Token')}"
    webhook = await scene.ask(
        "POST", "/webhooks", json={"url": url, "events": ["ORDER_STATUS_CHANGED"], "dataMode": "FULL"}
    )
    rotated = await scene.ask("POST", f"/webhooks/{webhook['webhook']['id']}/rotate-secret")
    scene.secrets = {webhook["secret"].encode(), rotated["secret"].encode()}
    path = f"/cases/{case['case']['id']}"
    order_id: str = (await scene.ask("POST", path, json=placement()))["order"]["id"]
    await _report(scene, (await scene.ask("POST", path, json=placement("drug-silent")))["order"]["id"])
    await _until_documented(scene)
    await _be_refused(scene)
    return order_id


async def _until_documented(scene: Scene) -> None:
    stored = select(Document.id).where(Document.content_type == "application/pdf", Document.size != 0)
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not (
            scene.deployment.receiver.messages
            and await scene.database.read(lambda session: session.exec(stored).first())
        ):
            await asyncio.sleep(0.02)


async def _report(scene: Scene, order_id: str) -> None:
    """What a pharmacy says in its own words."""
    document = {"id": "lost", "url": f"http://127.0.0.1:9/{needle('Path')}", "fileName": f"{needle('File')}.pdf"}
    report = {
        "orderId": order_id,
        "occurredAt": rfc3339(now()),
        "status": "REJECTED",
        "reason": needle("Reason"),
        "reference": needle("Reference"),
        "trackingNumber": needle("Track"),
        "carrier": needle("Carrier"),
        "documents": [document],
    }
    body = json.dumps(report).encode()
    headers = sign_report(REPORT_SECRET, body, message_id=new_id()) | {"Content-Type": "application/json"}
    await scene.ask("POST", f"/pharmacy-connections/{scene.tenant.pharmacy_id}/events", content=body, headers=headers)
    async with asyncio.timeout(PATIENCE_SECONDS):
        while (await scene.ask("GET", f"/orders/{order_id}"))["order"]["status"] != "REJECTED":
            await asyncio.sleep(0.02)


async def _be_refused(scene: Scene) -> None:
    """What is refused must not be in a log either."""
    wrong, path = placement(), f"/cases/{scene.tenant.case_id}"
    wrong["order"]["prescriber"]["npi"] = needle("Npi")
    assert (await scene.call("POST", path, json=wrong)).status_code == 400
    assert (await scene.call("POST", f"{path}?{needle('Query')}=1", content=needle("Body"))).status_code in (400, 415)


# ---- the claims --------------------------------------------------------------------------------------------------


async def test_no_needle_lies_in_the_database_its_log_the_documents_the_service_log_or_a_dump(scene: Scene) -> None:
    order_id = await plant(scene)
    assert needle("Diagnosis") in (await scene.call("GET", f"/orders/{order_id}")).text, "who may read, reads"
    assert scene.leaks() == {}, "while the service runs"
    await scene.deployment.service.stop()
    assert scene.leaks() == {}, "after it has stopped"
    assert any(b"plain-reference" in content for _, content in scene.at_rest()), "what is not sealed is found"
    assert any(name.endswith(".pdf") for name, _ in scene.at_rest())
    assert _planted(scene) == {(model, name) for model in SealedTable.__subclasses__() for name in model.sealed_fields}


def _planted(scene: Scene) -> set[tuple[type[SealedTable], str]]:
    """Every sealed value that some row has: the claim is about all of them."""
    with scene.database.transaction() as session:
        rows = [row for model in SealedTable.__subclasses__() for row in session.exec(select(model))]
        return {(type(row), name) for row in rows for name, value in row.opened().items() if value is not None}
