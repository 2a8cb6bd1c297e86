"""Orders on a plain SQLModel session: what the FastAPI and the Connexion peer have in common.

It makes the same checks as case-orders (its rules are the product's own functions), writes the same rows and commits
once per request. It leaves out sealing, audit, limits, and the jobs of webhooks where there are none.
"""

import hashlib
import json
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import update
from sqlmodel import Session, col, select

from bench.peers.tables import (
    ApiKey,
    Case,
    Drug,
    Event,
    IdempotentAnswer,
    Job,
    Order,
    Organization,
    Pharmacy,
    PrescriptionItem,
    StatusChange,
    Webhook,
)
from handlers.addresses import upper_country
from handlers.prescribing import Prescription

JSON = dict[str, Any]


class Refused(Exception):
    """A request that is not granted: the HTTP status, and why."""

    def __init__(self, status: int, message: str, details: list[JSON] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.details = details


def answer(message: str = "OK", **data: Any) -> JSON:
    return {"status": 200, "success": True, "message": message, "data": data}


def authenticate(session: Session, key: str) -> Organization:
    row = session.exec(select(ApiKey).where(ApiKey.sha256 == hashlib.sha256(key.encode()).hexdigest())).one_or_none()
    if row is None or row.revoked_at is not None:
        raise Refused(401, "API key is not valid")
    return session.get_one(Organization, row.organization_id)


def place_once(session: Session, organization: Organization, case_id: str, asked: JSON, key: str | None) -> JSON:
    """Place an order and commit; under a key that was used, the first answer again."""
    if key is None:
        placed = place(session, organization, case_id, asked)
        session.commit()
        return placed
    fingerprint = hashlib.sha256(json.dumps([case_id, asked], sort_keys=True).encode()).hexdigest()
    stored = session.get(IdempotentAnswer, (organization.id, "performCaseAction", key))
    if stored is not None:
        if stored.fingerprint != fingerprint:
            raise Refused(409, "Idempotency key was already used for another request")
        return stored.answer
    placed = place(session, organization, case_id, asked)
    session.add(
        IdempotentAnswer(
            organization_id=organization.id,
            operation="performCaseAction",
            key=key,
            fingerprint=fingerprint,
            answer=placed,
        )
    )
    session.commit()
    return placed


def place(session: Session, organization: Organization, case_id: str, asked: JSON) -> JSON:
    case = session.get(Case, case_id)
    if case is None or case.organization_id != organization.id:
        raise Refused(403, "Case does not belong to your organization")
    order = _order(session, organization, case, asked)
    session.add(order)
    session.flush()
    session.add(StatusChange(order_id=order.id, position=0, status=order.status))
    _announce(session, order)
    session.add(
        Job(
            organization_id=organization.id,
            kind="submit_order",
            subject=order.id,
            destination=order.pharmacy_id,
        )
    )
    return answer("Order created successfully", order={"id": order.id})


def _order(session: Session, organization: Organization, case: Case, asked: JSON) -> Order:
    """The order with its items, checked."""
    prescription = _reviewed(session, organization, case, asked)
    assert prescription.pharmacy is not None
    assert prescription.address is not None
    prescriber = asked["prescriber"]
    order = Order(
        organization_id=organization.id,
        case_id=case.id,
        pharmacy_id=prescription.pharmacy.id,
        pharmacy_code=prescription.pharmacy.code,
        patient=case.patient,
        shipping_address=upper_country(prescription.address),
        patient_health_info=asked.get("patientHealthInfo"),
        prescriber=prescriber | {"address": upper_country(prescriber["address"])},
        diagnosis=asked["diagnosis"],
        date_written=asked.get("dateWritten"),
        date_signed=asked.get("dateSigned"),
        date_prescribed=asked.get("datePrescribed"),
        warnings=[doubt.as_json() for doubt in prescription.review()[1]],
    )
    for position, item in enumerate(asked["prescriptionItems"]):
        drug: Any = prescription.drugs[item["drugId"]]
        session.add(
            PrescriptionItem(
                order_id=order.id,
                position=position,
                drug_code=drug.code,
                drug=drug.model_dump(exclude={"organization_id"}, exclude_none=True),
                direction=item.get("direction"),
                quantity=item["quantity"],
                refill_count=item.get("refillCount"),
                supply_days=item.get("supplyDays"),
                custom_fields=item.get("customFields"),
            )
        )
    return order


def _reviewed(session: Session, organization: Organization, case: Case, asked: JSON) -> Prescription:
    """The product's own rules, on our rows."""
    pharmacies = select(Pharmacy).where(
        Pharmacy.organization_id == organization.id, Pharmacy.code == asked["pharmacyId"]
    )
    codes = {item["drugId"] for item in asked["prescriptionItems"]}
    drugs = select(Drug).where(Drug.organization_id == organization.id, col(Drug.code).in_(codes))
    found: dict[str, Any] = {drug.code: drug for drug in session.exec(drugs)}
    pharmacy: Any = session.exec(pharmacies).one_or_none()
    us: Any = organization
    prescription = Prescription(asked, us, pharmacy, found, asked.get("shippingAddress") or case.patient.get("address"))
    problems, _ = prescription.review()
    if problems:
        raise Refused(400, "Order is not valid", [problem.as_json() for problem in problems])
    return prescription


def _announce(session: Session, order: Order) -> None:
    """The event of the new order, numbered within its case."""
    count = update(Case).where(col(Case.id) == order.case_id).values(last_position=Case.last_position + 1)
    session.add(
        Event(
            organization_id=order.organization_id,
            case_id=order.case_id,
            position=session.connection().execute(count.returning(col(Case.last_position))).scalar_one(),
            order_id=order.id,
            sequence=1,
            type="ORDER_CREATED",
            data={"caseId": order.case_id, "orderId": order.id, "status": order.status},
        )
    )
    hooks = select(Webhook).where(Webhook.organization_id == order.organization_id, col(Webhook.active))
    assert not session.exec(hooks).all(), "the bench has none"


def get_order(session: Session, organization: Organization, order_id: str) -> JSON:
    order = session.get(Order, order_id)
    if order is None or order.organization_id != organization.id:
        raise Refused(404, "Order was not found")
    items = select(PrescriptionItem).where(PrescriptionItem.order_id == order.id)
    history = select(StatusChange).where(StatusChange.order_id == order.id)
    found = _summary(order) | {
        "shippingAddress": order.shipping_address,
        "patientHealthInfo": order.patient_health_info,
        "prescriber": order.prescriber,
        "diagnosis": order.diagnosis,
        "dateWritten": order.date_written,
        "dateSigned": order.date_signed,
        "datePrescribed": order.date_prescribed,
        "prescriptionItems": [_item(item) for item in session.exec(items.order_by(col(PrescriptionItem.position)))],
        "statusHistory": [
            {"status": change.status, "at": _time(change.at)}
            for change in session.exec(history.order_by(col(StatusChange.position)))
        ],
        "warnings": order.warnings,
    }
    return answer(order=_without_none(found))


def list_orders(session: Session, organization: Organization, limit: int, cursor: str | None) -> JSON:
    query = select(Order).where(Order.organization_id == organization.id)
    if cursor is not None:
        query = query.where(Order.id < cursor)
    rows = session.exec(query.order_by(col(Order.id).desc()).limit(limit + 1)).all()
    following = {"nextCursor": rows[limit - 1].id} if len(rows) > limit else {}
    return answer(orders=[_summary(order) for order in rows[:limit]], **following)


def _summary(order: Order) -> JSON:
    return {
        "id": order.id,
        "caseId": order.case_id,
        "pharmacyId": order.pharmacy_code,
        "status": order.status,
        "documentStatus": order.document_status,
        "createdAt": _time(order.created_at),
        "updatedAt": _time(order.updated_at),
    }


def _item(item: PrescriptionItem) -> JSON:
    return _without_none(
        {
            "drugId": item.drug_code,
            "direction": item.direction,
            "quantity": item.quantity,
            "refillCount": item.refill_count,
            "supplyDays": item.supply_days,
            "customFields": item.custom_fields,
        }
    )


def _without_none(fields: JSON) -> JSON:
    return {name: value for name, value in fields.items() if value is not None}


def _time(moment: datetime) -> str:
    return moment.replace(tzinfo=UTC).isoformat()
