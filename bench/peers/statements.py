"""A placement as the plain SQL that it cannot do without: the floor under every framework.

It looks up key, case, idempotency key, pharmacy and drugs, and writes the same rows as the others. It checks neither
the contract nor the rules, and knows no webhooks.
"""

import hashlib
from collections.abc import Callable, Generator, Sequence
from datetime import UTC, datetime
from typing import Any

import orjson
from uuid_utils import uuid7

Row = Sequence[Any] | None
Placing = Generator[tuple[str, tuple[Any, ...]], Row, str | None]
"""Asks for statements to be run, is sent the first row of each, returns the order's id; None is a refusal."""

ORGANIZATION = "SELECT organization_id FROM api_keys WHERE sha256 = ? AND revoked_at IS NULL"
CASE = "SELECT patient FROM cases WHERE id = ? AND organization_id = ?"
ANSWER = "SELECT answer FROM idempotent_answers WHERE organization_id = ? AND operation = ? AND key = ?"
PHARMACY = "SELECT id FROM pharmacies WHERE organization_id = ? AND code = ?"
DRUG = "SELECT name, strength, schedule FROM drugs WHERE organization_id = ? AND code = ?"
POSITION = "UPDATE cases SET last_position = last_position + 1 WHERE id = ? RETURNING last_position"


def _insert(table: str, columns: str) -> str:
    places = ", ".join("?" * len(columns.split(", ")))
    return f"INSERT INTO {table} ({columns}) VALUES ({places})"


ORDER = _insert(
    "orders",
    "id, organization_id, case_id, pharmacy_id, pharmacy_code, patient, shipping_address, patient_health_info, "
    "prescriber, diagnosis, date_written, warnings, status, document_status, created_at, updated_at",
)
ITEM = _insert(
    "prescription_items", "order_id, position, drug_code, drug, direction, quantity, refill_count, supply_days"
)
CHANGE = _insert("status_changes", "order_id, position, status, at")
EVENT = _insert("events", "id, organization_id, case_id, position, order_id, sequence, type, data, created_at")
JOB = _insert("jobs", "id, organization_id, kind, subject, destination, state, due_at, attempt, created_at")
KEPT = _insert("idempotent_answers", "organization_id, operation, key, fingerprint, answer, created_at")

OPERATION = "performCaseAction"


def placing(api_key: str, case: str, raw: bytes, key: str) -> Placing:
    """Place the order of a request's body, under an idempotency key."""
    asked = orjson.loads(raw)["order"]
    owner = yield ORGANIZATION, (hashlib.sha256(api_key.encode()).hexdigest(),)
    if owner is None:
        return None
    us, order, now = owner[0], str(uuid7()), str(datetime.now(UTC).replace(tzinfo=None))
    found = yield CASE, (case, us)
    if found is None or (yield ANSWER, (us, OPERATION, key)) is not None:
        return None
    pharmacy = yield PHARMACY, (us, asked["pharmacyId"])
    if pharmacy is None:
        return None
    items = []
    for position, item in enumerate(asked["prescriptionItems"]):
        drug = yield DRUG, (us, item["drugId"])
        if drug is None:
            return None
        items.append((order, position, item["drugId"], _json(drug), *map(item.get, _ITEM)))
    (position,) = (yield POSITION, (case,)) or (0,)
    patient = found[0] if isinstance(found[0], str) else _json(found[0])
    yield ORDER, (order, us, case, pharmacy[0], asked["pharmacyId"], patient, *_told(asked), "[]", *_NEW, now, now)
    for values in items:
        yield ITEM, values
    yield CHANGE, (order, 0, "RECEIVED", now)
    data = _json({"caseId": case, "orderId": order, "status": "RECEIVED"})
    yield EVENT, (str(uuid7()), us, case, position, order, 1, "ORDER_CREATED", data, now)
    yield JOB, (str(uuid7()), us, "submit_order", order, pharmacy[0], "WAITING", now, 0, now)
    yield KEPT, (us, OPERATION, key, hashlib.sha256(raw).hexdigest(), _json(answer(order)), now)
    return order


_ITEM = ("direction", "quantity", "refillCount", "supplyDays")
_NEW = ("RECEIVED", "PENDING")


def _told(asked: dict[str, Any]) -> tuple[str | None, ...]:
    sealed = (_json(asked.get(name)) for name in ("shippingAddress", "patientHealthInfo", "prescriber"))
    return (*sealed, asked["diagnosis"], asked.get("dateWritten"))


def _json(value: Any) -> str:
    return orjson.dumps(value).decode()


def answer(order: str) -> dict[str, Any]:
    return {"status": 200, "success": True, "message": "Order created successfully", "data": {"order": {"id": order}}}


def run(steps: Placing, execute: Callable[[str, tuple[Any, ...]], Any]) -> str | None:
    """Run a placement's statements one after the other."""
    row: Row = None
    try:
        while True:
            statement, values = steps.send(row)
            cursor = execute(statement, values)
            row = cursor.fetchone() if cursor.description else None
    except StopIteration as done:
        result: str | None = done.value
        return result
