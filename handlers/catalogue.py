"""The pharmacies and drugs that an organization's orders may name."""

from sqlmodel import Session, col, select

from case_orders.auth import Caller
from case_orders.envelope import Answer, page
from handlers.lookup import page_of
from models import Drug, Pharmacy


def list_pharmacies(session: Session, caller: Caller, limit: int, cursor: str | None = None) -> Answer:
    query = select(Pharmacy).where(Pharmacy.organization_id == caller.organization_id)
    pharmacies, following = page_of(session, query, col(Pharmacy.code), cursor, limit)
    return page("pharmacies", [pharmacy.as_json() for pharmacy in pharmacies], following)


def list_drugs(session: Session, caller: Caller, limit: int, cursor: str | None = None) -> Answer:
    query = select(Drug).where(Drug.organization_id == caller.organization_id)
    drugs, following = page_of(session, query, col(Drug.code), cursor, limit)
    return page("drugs", [drug.as_json() for drug in drugs], following)
