"""The action PLACE_ORDER: check what the schema cannot say, then write the order with its event and its first job."""

from sqlmodel import Session

from case_orders import progress
from case_orders.envelope import JSON, Answer, ok
from case_orders.errors import Invalid
from handlers.addresses import upper_country
from handlers.prescribing import Prescription
from models import Case, Order, PrescriptionItem
from models.jobs import JobKind

# The nil UUID of RFC 9562: the answer to a validation has the form of the answer to a placement, but no order.
NO_ORDER = "00000000-0000-0000-0000-000000000000"


def place_order(session: Session, case: Case, asked: JSON) -> Answer:
    prescription, warnings = _reviewed(session, case, asked)
    order = _new_order(case, prescription, asked)
    order.warnings = warnings
    progress.begin(session, order)
    session.add_all(_items(order, prescription, asked["prescriptionItems"]))
    progress.promise(session, order, JobKind.SUBMIT_ORDER)
    return ok("Order created successfully", order={"id": order.id})


def validate_order(session: Session, case: Case, asked: JSON) -> Answer:
    """What placing the order would answer; nothing is written."""
    _, warnings = _reviewed(session, case, asked)
    return ok("Order is valid; nothing was placed", order={"id": NO_ORDER}, warnings=warnings)


def _reviewed(session: Session, case: Case, asked: JSON) -> tuple[Prescription, list[JSON]]:
    """What the order refers to, and the warnings it earns; raises `Invalid` with every problem."""
    prescription = Prescription.look_up(session, case, asked)
    problems, warnings = prescription.review()
    if problems:
        raise Invalid.because(problems)
    return prescription, [warning.as_json() for warning in warnings]


def _new_order(case: Case, prescription: Prescription, asked: JSON) -> Order:
    assert prescription.pharmacy is not None  # reviewed
    assert prescription.address is not None
    prescriber = asked["prescriber"]
    return Order(
        organization_id=case.organization_id,
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
    )


def _items(order: Order, prescription: Prescription, asked: list[JSON]) -> list[PrescriptionItem]:
    return [
        PrescriptionItem(
            order_id=order.id,
            position=position,
            drug_code=item["drugId"],
            drug=prescription.drugs[item["drugId"]].as_json(),
            direction=item.get("direction"),
            quantity=item["quantity"],
            refill_count=item.get("refillCount"),
            supply_days=item.get("supplyDays"),
            custom_fields=item.get("customFields"),
        )
        for position, item in enumerate(asked)
    ]
