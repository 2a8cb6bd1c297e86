"""Two organizations with the same catalogue, so that every test can try what one may see of the other."""

from dataclasses import dataclass, field

from sqlmodel import Session

from case_orders.auth import new_key, store_key
from case_orders.db import new_id
from models import Case, Drug, Organization, Pharmacy

ADDRESS = {
    "addressLine1": "123 Main St",
    "city": "San Francisco",
    "state": "CA",
    "country": "US",
    "postalCode": "94105",
}
PATIENT = {"firstName": "Jane", "lastName": "Doe", "dateOfBirth": "1988-04-02", "address": ADDRESS}

SCHEDULES = {"drug-ii": "II", "drug-iii": "III", "drug-iv": "IV", "drug-v": "V"}
BEHAVIOURS = ("reject", "refuse", "hold", "slow", "flaky", "timeout-after-accept", "duplicate-reports", "out-of-order")
MORE_BEHAVIOURS = ("silent", "deny-cancel", "slow-cancel", "bad-document", "truncated-document", "wrong-checksum")
LAST_BEHAVIOURS = ("no-document", "garbage", "skip")


@dataclass
class Tenant:
    """An organization and what a test needs to act as it."""

    name: str
    key: str = field(default_factory=new_key)
    organization_id: str = field(default_factory=new_id)
    case_id: str = field(default_factory=new_id)
    case_without_address: str = field(default_factory=new_id)
    pharmacy_id: str = field(default_factory=new_id)

    @property
    def headers(self) -> dict[str, str]:
        return {"cv-api-key": self.key}


REQUEST_SECRET = "whsec_dGVzdC1yZXF1ZXN0LXNlY3JldC0xMjM0"
REPORT_SECRET = "whsec_dGVzdC1yZXBvcnQtc2VjcmV0LTEyMzQ1"


def populate(session: Session, tenant: Tenant, pharmacy_url: str = "http://127.0.0.1:9") -> None:
    """The tenant's rows: a case with an address and one without, two pharmacies, a drug for each need."""
    session.add(Organization(id=tenant.organization_id, name=tenant.name))
    session.flush()
    store_key(session, tenant.organization_id, "test", tenant.key)
    without_address = {name: value for name, value in PATIENT.items() if name != "address"}
    session.add_all(
        [
            Case(id=tenant.case_id, organization_id=tenant.organization_id, patient=PATIENT),
            Case(id=tenant.case_without_address, organization_id=tenant.organization_id, patient=without_address),
            _pharmacy(tenant, "pharmacy-123", pharmacy_url, id=tenant.pharmacy_id),
            _pharmacy(tenant, "pharmacy-cs", pharmacy_url, accepts_controlled_substances=True),
            *_drugs(tenant.organization_id),
        ]
    )


def _pharmacy(tenant: Tenant, code: str, url: str, **more: object) -> Pharmacy:
    return Pharmacy(
        organization_id=tenant.organization_id,
        code=code,
        name=f"Pharmacy {code}",
        base_url=url,
        request_secret=REQUEST_SECRET,
        report_secret=REPORT_SECRET,
        **more,
    )


def _drugs(organization_id: str) -> list[Drug]:
    plain = ["drug-456", *(f"drug-{b}" for b in (*BEHAVIOURS, *MORE_BEHAVIOURS, *LAST_BEHAVIOURS))]
    drugs = [Drug(organization_id=organization_id, code=code, name="Lisinopril", strength="10 mg") for code in plain]
    drugs += [
        Drug(organization_id=organization_id, code=code, name="Controlled", schedule=schedule)
        for code, schedule in SCHEDULES.items()
    ]
    return drugs
