"""The rows of the demonstration: what the source document's own example names, and a drug for each way to fail."""

from collections.abc import Iterator

from sqlalchemy import inspect
from sqlmodel import Session, select

from case_orders import auth
from case_orders.db import now
from case_orders.demo.example import API_KEY, CASE_ID, DRUG_CODE, PHARMACY_CODE
from case_orders.pharmacies.sandbox.behaviours import BEHAVIOURS
from models import ApiKey, Case, Drug, Organization, Pharmacy

ORGANIZATION = "Demonstration"
PATIENT = {
    "firstName": "Jane",
    "lastName": "Doe",
    "dateOfBirth": "1988-04-02",
    "address": {
        "addressLine1": "123 Main St",
        "city": "San Francisco",
        "state": "CA",
        "country": "US",
        "postalCode": "94105",
    },
}


class NotADemonstration(Exception):
    """The database has organizations of its own: a key that everybody knows must not be valid in it."""


def require_alone(session: Session) -> None:
    """Raises `NotADemonstration` if there is any organization but the demonstration's; one without tables has none."""
    if not inspect(session.connection()).has_table(str(Organization.__tablename__)):
        return
    if session.exec(select(Organization.id).where(Organization.name != ORGANIZATION).limit(1)).first() is not None:
        raise NotADemonstration


def seed(session: Session, *, pharmacy_url: str, request_secret: str, report_secret: str) -> None:
    """Write the rows; a second time it adds nothing and leads the pharmacies to the new address and secrets."""
    organization = session.exec(select(Organization).where(Organization.name == ORGANIZATION)).one_or_none()
    if organization is None:
        organization = Organization(name=ORGANIZATION)
        session.add(organization)
        session.flush()
        auth.store_key(session, organization.id, ORGANIZATION, API_KEY)
        session.add(Case(id=CASE_ID, organization_id=organization.id, reference="demonstration", patient=PATIENT))
    for key in session.exec(select(ApiKey).where(ApiKey.sha256 == auth.digest(API_KEY))):
        key.revoked_at = None
        session.add(key)
    for drug in _drugs(organization.id):
        session.merge(drug)
    known = session.exec(select(Pharmacy).where(Pharmacy.organization_id == organization.id)).all()
    for pharmacy in known or _pharmacies(organization.id, pharmacy_url, request_secret, report_secret):
        pharmacy.base_url = pharmacy_url
        pharmacy.request_secret, pharmacy.report_secret = request_secret, report_secret
        session.add(pharmacy)


def connection(session: Session) -> Pharmacy | None:
    """The demonstration's pharmacy, if the rows were written before."""
    where = select(Pharmacy).join(Organization).where(Organization.name == ORGANIZATION)
    return session.exec(where.where(Pharmacy.code == PHARMACY_CODE)).one_or_none()


def withdraw(session: Session) -> None:
    """Revoke the key that everybody knows; writing the rows again makes it valid again."""
    for key in session.exec(select(ApiKey).where(ApiKey.sha256 == auth.digest(API_KEY))):
        key.revoked_at = key.revoked_at or now()
        session.add(key)


def _pharmacies(organization_id: str, url: str, request_secret: str, report_secret: str) -> Iterator[Pharmacy]:
    for code, name, controlled in (
        (PHARMACY_CODE, "Sandbox Pharmacy", False),
        ("pharmacy-cs", "Sandbox Pharmacy for controlled substances", True),
    ):
        yield Pharmacy(
            organization_id=organization_id,
            code=code,
            name=name,
            base_url=url,
            request_secret=request_secret,
            report_secret=report_secret,
            accepts_controlled_substances=controlled,
        )


def _drugs(organization_id: str) -> Iterator[Drug]:
    for code in (DRUG_CODE, *BEHAVIOURS):
        yield Drug(
            organization_id=organization_id,
            code=code,
            name="Lisinopril",
            strength="10 mg",
            form="tablet",
            rxcui="314076",
        )
    for schedule, name, strength, form in (
        ("II", "Oxycodone", "5 mg", "tablet"),
        ("III", "Buprenorphine", "8 mg", "sublingual tablet"),
        ("IV", "Alprazolam", "0.5 mg", "tablet"),
        ("V", "Pregabalin", "75 mg", "capsule"),
    ):
        code = f"drug-schedule-{schedule.lower()}"
        yield Drug(
            organization_id=organization_id, code=code, name=name, strength=strength, form=form, schedule=schedule
        )
