"""The pharmacies and drugs that an organization's orders may name."""

from sqlmodel import Session

from case_orders.auth import Caller
from case_orders.envelope import Answer, page
from handlers.pages import Pages
from models import Drug, Pharmacy

_PHARMACIES = Pages(Pharmacy, of="organization_id", by="code")
_DRUGS = Pages(Drug, of="organization_id", by="code")


def list_pharmacies(session: Session, caller: Caller, limit: int, cursor: str | None = None) -> Answer:
    pharmacies, following = _PHARMACIES.page(session, caller.organization_id, limit, cursor)
    return page("pharmacies", [pharmacy.as_json() for pharmacy in pharmacies], following)


def list_drugs(session: Session, caller: Caller, limit: int, cursor: str | None = None) -> Answer:
    drugs, following = _DRUGS.page(session, caller.organization_id, limit, cursor)
    return page("drugs", [drug.as_json() for drug in drugs], following)
