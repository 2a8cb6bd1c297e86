"""The action PLACE_ORDER: check what the schema cannot say, then write the order with its event and its first job."""

from sqlmodel import Session

from case_orders import progress
from case_orders.envelope import JSON, Answer, ok
from case_orders.errors import Invalid
from case_orders.outbox import enqueue
from handlers.prescribing import Prescription, upper_country
from models import Case, Order, PrescriptionItem
from models.jobs import JobKind


def place_order(session: Session, case: Case, asked: JSON) -> Answer:
    prescription = Prescription.look_up(session, case, asked)
    problems, warnings = prescription.review()
    if problems:
        raise Invalid.because(problems)
    order = _new_order(case, prescription, asked)
    order.warnings = [warning.as_json() for warning in warnings]
    progress.begin(session, order)
    session.add_all(_items(order, asked["prescriptionItems"]))
    enqueue(
        session, JobKind.SUBMIT_ORDER, order.id, organization_id=order.organization_id, destination=order.pharmacy_id
    )
    return ok("Order created successfully", order={"id": order.id})


def _new_order(case: Case, prescription: Prescription, asked: JSON) -> Order:
    assert prescription.pharmacy is not None  # reviewed
    assert prescription.address is not None
    prescriber = asked["prescriber"]
    return Order(
        organization_id=case.organization_id,
        case_id=case.id,
        pharmacy_id=prescription.pharmacy.id,
        pharmacy_code=prescription.pharmacy.code,
        shipping_address=upper_country(prescription.address),
        patient_health_info=asked.get("patientHealthInfo"),
        prescriber=prescriber | {"address": upper_country(prescriber["address"])},
        diagnosis=asked["diagnosis"],
        date_written=asked.get("dateWritten"),
        date_signed=asked.get("dateSigned"),
        date_prescribed=asked.get("datePrescribed"),
    )


def _items(order: Order, asked: list[JSON]) -> list[PrescriptionItem]:
    return [
        PrescriptionItem(
            order_id=order.id,
            position=position,
            drug_code=item["drugId"],
            direction=item.get("direction"),
            quantity=item["quantity"],
            refill_count=item.get("refillCount"),
            supply_days=item.get("supplyDays"),
            custom_fields=item.get("customFields"),
        )
        for position, item in enumerate(asked)
    ]
