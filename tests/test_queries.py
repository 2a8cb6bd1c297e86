"""No query reads a growing table from end to end: what takes a millisecond with ten orders does so with ten million.

All that the product does is done once, on tables that are filled; then the database says how it would run each
statement that it was given.
"""

import asyncio
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from httpx2 import ASGITransport
from sqlalchemy import text
from sqlmodel import SQLModel, select
from typer.testing import CliRunner

from case_orders.app import create_app
from case_orders.cli import app
from case_orders.db import Database, new_id, now
from case_orders.edge import contract
from case_orders.edge.routing import BASES
from case_orders.housekeeping import clean_up
from case_orders.links import Links
from case_orders.lookups import Count, Lookup
from case_orders.processes import environment
from case_orders.settings import Settings
from models import Delivery, Job
from models.jobs import JobState
from tests.fulfillment.house import Clinic, open_house
from tests.reliability.deployment import receiving
from tests.support import bulk, plans
from tests.support.contract_client import ContractClient

OPERATIONS = contract.operations()
# `keys encryption` is not among them: to open or count every sealed row is what it is for.
COMMANDS = (
    "organizations list",
    "keys list {name}",
    "pharmacies list {name}",
    "webhooks list {name}",
    "orders list",
    "orders list --status failed",
    "orders list --organization {name} --status failed",
    "orders show {orderId} --full",
    "jobs list",
    "jobs list --dead",
    "jobs list --due --kind deliver_webhook",
    "deliveries list",
    "deliveries list --status failed",
    "deliveries list --webhook {webhookId} --status failed",
    "deliveries redeliver {deliveryId}",
    "orders replay {orderId}",
    "jobs replay --all-dead --kind submit_order",
)


@pytest.fixture
def filled(new_database: Callable[[], str]) -> Iterator[Database]:
    database = Database(new_database())
    try:
        bulk.fill(database.engine)
        yield database
    finally:
        database.dispose()


async def test_no_statement_of_the_product_reads_a_growing_table_from_end_to_end(
    filled: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = filled.engine.url.render_as_string(hide_password=False)
    with plans.recording() as statements:
        async with receiving() as receiver, open_house(url, tmp_path) as house:
            clinic = house.clinic()
            ids = await _work_is_done(clinic, receiver.url)
        _every_command_is_run(house.settings, filled, clinic, ids, monkeypatch)
        await _every_operation_is_called(house.settings, filled, clinic, ids)
        await clean_up(filled, house.settings.model_copy(update={"keep_events_days": 1}), asyncio.Event())
    bulk.analyze(filled.engine)
    with filled.engine.connect() as connection:
        found = {sql: plans.scanned(connection, sql, values) for sql, values in statements.items()}
    assert len(statements) > 100
    assert {sql: tables for sql, tables in found.items() if tables} == {}


def test_no_look_up_of_several_rows_reads_a_table_from_end_to_end(filled: Database) -> None:
    """However few rows an operator may have set up: SQLite plans without looking at that."""
    with plans.recording() as statements, filled.snapshot() as session:
        for question in _questions():
            columns = question.by if isinstance(question, Lookup) else [question.by]
            question.find(session, [tuple(f"{row}" for _ in columns) for row in range(3)])
    assert len(statements) > 10
    tables = set(SQLModel.metadata.tables) if filled.is_sqlite else plans.growing()
    with filled.engine.connect() as connection:
        found = {sql: plans.scanned(connection, sql, values, tables) for sql, values in statements.items()}
    assert {sql: scanned for sql, scanned in found.items() if scanned} == {}


def _questions() -> Iterator[Lookup[Any] | Count]:
    """What the product looks up."""
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] in ("case_orders", "handlers", "models"):
            yield from (value for value in vars(module).values() if isinstance(value, (Lookup, Count)))


async def _work_is_done(clinic: Clinic, receiver_url: str) -> dict[str, str]:
    """Orders on their way through all kinds of jobs; the ids of what came of it."""
    events = ["ORDER_CREATED", "ORDER_STATUS_CHANGED", "ORDER_TRACKING_ADDED", "DOCUMENT_STORED"]
    body = {"url": receiver_url, "events": events, "dataMode": "FULL", "documentMode": "URL"}
    webhook = (await clinic.call("POST", "/webhooks", json=body)).json()["data"]["webhook"]
    order_id = await clinic.place()
    await clinic.until(order_id, status="COMPLETED", document_status="STORED")
    await asyncio.gather(*(clinic.place() for _ in range(8)))
    await clinic.until(silent := await clinic.place("drug-silent"), status="SUBMITTED")
    await clinic.report(silent, status="FILLING", trackingNumber="1Z999AA10123456784")
    await clinic.until(silent, status="FILLING")
    await clinic.cancel(silent)
    await clinic.until(silent, cancel_requested=False)
    await clinic.until(await clinic.place("drug-reject"), status="REJECTED")
    delivery = select(Delivery.id).where(Delivery.webhook_id == webhook["id"]).limit(1)
    return {
        "caseId": clinic.tenant.case_id,
        "orderId": order_id,
        "documentId": clinic.documents(order_id)[0].id,
        "webhookId": webhook["id"],
        "deliveryId": clinic.in_transaction(lambda session: session.exec(delivery).one()),
    }


async def _every_operation_is_called(
    settings: Settings, database: Database, clinic: Clinic, ids: dict[str, str]
) -> None:
    """Once as its example says, and lists also from a cursor on and by each of their filters."""
    answered = set()
    transport = ASGITransport(create_app(settings, database))
    async with ContractClient(transport=transport, headers=clinic.tenant.headers) as api:
        for operation in sorted(OPERATIONS.values(), key=lambda each: each.method == "delete"):
            path = re.sub(r"\{(\w+)\}", lambda name: ids.get(name[1]) or new_id(), operation.path)
            url = f"http://test{'' if operation.at_root else BASES[0]}{path}"
            if operation.id == "downloadDocumentByLink":
                url = Links.from_settings(settings).url(ids["documentId"], now())
            for query in _queries(operation):
                body = _body(operation)
                headers = {"Idempotency-Key": new_id()}
                answer = await api.request(operation.method.upper(), url, params=query, json=body, headers=headers)
                if answer.is_success or answer.status_code == 409:
                    answered.add(operation.id)
    assert answered | {"receivePharmacyEvent"} == set(OPERATIONS)


def _queries(operation: contract.Operation) -> Iterator[dict[str, Any] | None]:
    """None, or what a list takes beside its limit, one after the other."""
    yield None
    for parameter in operation.parameters:
        if parameter["in"] == "query" and not parameter.get("required"):
            value = parameter.get("example", parameter["schema"].get("example"))
            yield {parameter["name"]: str(value)}


def _body(operation: contract.Operation) -> Any:
    content = operation.spec.get("requestBody", {}).get("content", {}).get("application/json", {})
    return next((example["value"] for example in content.get("examples", {}).values()), None)


def _every_command_is_run(
    settings: Settings, database: Database, clinic: Clinic, ids: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment(settings).items():
        monkeypatch.setenv(name, value)
    with database.transaction() as session:
        dead = select(Job).where(Job.subject == ids["orderId"]).limit(1)
        session.exec(dead).one().state = JobState.DEAD
    for command in COMMANDS:
        arguments = [word.format(name=clinic.tenant.name, **ids) for word in command.split()]
        done = CliRunner().invoke(app, arguments, prog_name="case-orders")
        assert done.exit_code in (0, 1), f"{command}\n{done.output}"


def test_a_query_whose_index_is_gone_is_found(filled: Database) -> None:
    query = select(Job).where(Job.subject == "7").compile(filled.engine)
    values = tuple(query.params.values()) if filled.is_sqlite else query.params
    with filled.engine.connect() as connection:
        assert plans.scanned(connection, str(query), values) == set()
        connection.execute(text("DROP INDEX ix_jobs_subject"))
        # Python keeps prepared statements by their text, and an explained one does not notice the change.
        assert plans.scanned(connection, f"{query} ", values) == {"jobs"}
