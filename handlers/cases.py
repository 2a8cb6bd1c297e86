"""Cases, and the actions on them that place orders."""

from collections.abc import Iterator

from sqlalchemy import BigInteger, literal
from sqlmodel import Session, col, select

from case_orders.auth import Caller
from case_orders.envelope import JSON, Answer, created, ok, page
from case_orders.errors import Conflict
from case_orders.lookups import asking
from case_orders.shared_session import Ask
from case_orders.webhooks.events import SUBSCRIBERS
from handlers import addresses
from handlers.lookup import CASES, own_case
from handlers.pages import Pages
from handlers.placing import place_order, validate_order
from handlers.prescribing import Prescription
from models import Case, Event

ACTIONS = {"PLACE_ORDER": place_order}
VALIDATIONS = {"PLACE_ORDER": validate_order}

_CASES = Pages(Case, of="organization_id", by="id", descending=True)


def list_cases(
    session: Session, caller: Caller, limit: int, cursor: str | None = None, reference: str | None = None
) -> Answer:
    cases, following = _CASES.page(session, caller.organization_id, limit, cursor, reference=reference)
    return page("cases", [case.as_json() for case in cases], following)


def create_case(session: Session, caller: Caller, body: JSON) -> Answer:
    reference = body.get("reference")
    if reference is not None:
        taken = select(Case.id).where(Case.organization_id == caller.organization_id, Case.reference == reference)
        if session.exec(taken).first() is not None:
            raise Conflict("reference is already used by another case", "reference_taken")
    patient = addresses.of_patient(body["patient"])
    case = Case(organization_id=caller.organization_id, reference=reference, patient=patient)
    session.add(case)
    return created("Case created successfully", f"/cases/{case.id}", case=case.as_json())


def _asks_for_case(caller: Caller, case_id: str) -> Iterator[Ask]:
    yield CASES.ask(case_id, caller.organization_id)


@asking(_asks_for_case)
def get_case(session: Session, caller: Caller, case_id: str) -> Answer:
    return ok(case=own_case(session, caller, case_id).as_json())


def list_case_activity(session: Session, caller: Caller, case_id: str, limit: int, cursor: str = "0") -> Answer:
    case = own_case(session, caller, case_id)
    # A cursor may be longer than the column's integers, which PostgreSQL would refuse.
    query = select(Event).where(Event.case_id == case.id, col(Event.position) > literal(int(cursor), BigInteger))
    events = session.exec(query.order_by(col(Event.position)).limit(limit)).all()
    return page("events", [event.as_json() for event in events], str(events[-1].position) if events else None)


def _asks_for_action(caller: Caller, case_id: str, body: JSON, **_: object) -> Iterator[Ask]:
    yield CASES.ask(case_id, caller.organization_id)
    yield from Prescription.asks(caller.organization_id, body["order"])
    yield SUBSCRIBERS.ask(caller.organization_id)


@asking(_asks_for_action)
def perform_case_action(
    session: Session, caller: Caller, case_id: str, body: JSON, validate_only: bool = False
) -> Answer:
    case = own_case(session, caller, case_id)
    action = VALIDATIONS if validate_only else ACTIONS
    return action[body["action"]](session, case, body["order"])
