"""What the time of an answer may tell: nothing of whether an id is another organization's or nobody's.

A clock would be as unsteady as the machine. What takes time is work, so the work is compared: the statements that the
database runs and the rows that are made of what it found.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import Engine, event
from sqlalchemy.orm import Mapper
from standardwebhooks import Webhook

from case_orders.db import Database, new_id
from case_orders.edge import contract
from case_orders.key_use import KeyUse
from case_orders.pharmacies.signing import sign_report
from case_orders.row import Row
from case_orders.signing_secrets import new_secret
from tests.handlers.steps import ask, objects
from tests.support.contract_client import ContractClient
from tests.support.world import Tenant

# Every id of every path, each operation once for each: (operationId, the ids before it, the id and those after it).
PLACES = [
    pytest.param(operation.id, ids[:place], ids[place:], id=f"{operation.id}-{ids[place]}")
    for operation in contract.operations().values()
    for ids in [re.findall(r"\{(\w+)\}", operation.path)]
    if operation.needs_key
    for place in range(len(ids))
]


@pytest.fixture(autouse=True)
def no_notes_of_the_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once a minute a process writes down which keys were used: work of the clock, not of a request."""

    async def write(_use: KeyUse) -> None:
        pass

    monkeypatch.setattr(KeyUse, "write", write)


@contextmanager
def work_done() -> Iterator[list[str]]:
    """The statements that are run and the rows that are made meanwhile."""
    done: list[str] = []

    def note_statement(*arguments: Any) -> None:
        done.append(arguments[2])

    def note_row(row: object, _context: object) -> None:
        done.append(f"row of {type(row).__name__}")

    def found(table: type[Row], columns: Iterable[str], values: Iterable[Any]) -> Row:
        done.append(f"row of {table.__name__}")
        return made(table, columns, values)

    made = Row.found.__func__
    event.listen(Engine, "before_cursor_execute", note_statement)
    event.listen(Mapper, "load", note_row)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Row, "found", classmethod(found))
            yield done
    finally:
        event.remove(Engine, "before_cursor_execute", note_statement)
        event.remove(Mapper, "load", note_row)


@pytest.mark.parametrize(("operation_id", "before", "after"), PLACES)
async def test_a_foreign_id_costs_the_same_work_as_an_unknown_one(
    api: ContractClient,
    database: Database,
    us: Tenant,
    them: Tenant,
    operation_id: str,
    before: list[str],
    after: list[str],
) -> None:
    ours, theirs = await objects(api, database, us), await objects(api, database, them)
    known = {name: ours[name] for name in before}
    await ask(api, operation_id, known)  # whatever is done once only is done by now
    with work_done() as for_unknown:
        unknown = await ask(api, operation_id, known)
    with work_done() as for_foreign:
        foreign = await ask(api, operation_id, known | {name: theirs[name] for name in after})
    assert for_foreign == for_unknown
    assert foreign.json() | {"requestId": ""} == unknown.json() | {"requestId": ""}


async def test_a_report_to_a_connection_that_does_not_exist_costs_the_same_work_as_a_forged_one(
    api: ContractClient, us: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But for the row: what stands in the place of one that is not there is made as well."""
    news = {"orderId": new_id(), "occurredAt": "2024-01-15T10:30:00Z", "status": "SHIPPED"}
    body = json.dumps(news).encode()
    headers = sign_report(new_secret(), body) | {"content-type": "application/json", "cv-api-key": ""}
    verified: list[bytes] = []
    monkeypatch.setattr(Webhook, "verify", noting(Webhook.verify, verified))
    answers, work = [], []
    for connection in (us.pharmacy_id, us.pharmacy_id, new_id()):  # whatever is done once only is done by the first
        with work_done() as done:
            answers.append(await api.post(f"/pharmacy-connections/{connection}/events", content=body, headers=headers))
        work.append([line for line in done if not line.startswith("row")])
    assert work[1] == work[2]
    assert any("JOIN pharmacies" in line for line in work[2])
    assert verified == [body] * 3
    assert [answer.json() | {"requestId": ""} for answer in answers] == [answers[0].json() | {"requestId": ""}] * 3
    assert answers[0].json()["code"] == "invalid_signature"


def noting(verify: Callable[..., Any], verified: list[bytes]) -> Callable[..., Any]:
    def noted(webhook: Webhook, body: bytes, *arguments: Any, **options: Any) -> Any:
        verified.append(body)
        return verify(webhook, body, *arguments, **options)

    return noted


async def test_work_is_seen_where_there_is_some(api: ContractClient, us: Tenant) -> None:
    with work_done() as done:
        await ask(api, "getCase", {"caseId": us.case_id})
    assert "row of Case" in done
    assert [line for line in done if "JOIN cases" in line]


async def test_a_link_that_was_not_signed_here_asks_the_database_for_nothing(
    api: ContractClient, database: Database, us: Tenant
) -> None:
    document_id = (await objects(api, database, us))["documentId"]
    with work_done() as done:
        for named in (document_id, new_id()):
            answer = await api.get(f"/documents/{named}", params={"expires": 2**31, "signature": "0" * 64})
            assert answer.json()["code"] == "invalid_link"
    assert not [line for line in done if "documents" in line or line.startswith("row")]
