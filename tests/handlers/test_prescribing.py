"""What the schema cannot say of an order: the catalogue, the law on controlled substances, numbers of the field."""

from datetime import timedelta
from typing import Any

import pytest

from case_orders.db import Database, now
from handlers.identifiers import is_dea_number, is_npi, is_phone_number
from models import Drug, Organization, Pharmacy
from tests.handlers.steps import change, place, placed, problems, read
from tests.support.contract_client import ContractClient
from tests.support.orders import placement
from tests.support.world import Tenant

DRUG = "/order/prescriptionItems/0/drugId"
REFILLS = "/order/prescriptionItems/0/refillCount"
DEA = "AP5836727"


def controlled(schedule: str, *, refills: int = 0, dea: str | None = DEA, written: str | None = None) -> dict[str, Any]:
    """An order for a drug of a schedule at a pharmacy that takes such orders."""
    body = placement(f"drug-{schedule.lower()}", pharmacyId="pharmacy-cs", dateWritten=written or today())
    change(body, "order.prescriptionItems.0.refillCount", refills)
    if dea is not None:
        change(body, "order.prescriber.dea", dea)
    return body


def today(days_ago: int = 0) -> str:
    return str((now() - timedelta(days=days_ago)).date())


async def test_a_pharmacy_and_a_drug_must_be_in_the_catalogue(api: ContractClient, us: Tenant) -> None:
    assert problems(await place(api, us.case_id, placement("drug-of-nobody", pharmacyId="pharmacy-of-nobody"))) == {
        "/order/pharmacyId": ("order.pharmacyId is not a pharmacy of your organization", "unknown_pharmacy"),
        DRUG: ("order.prescriptionItems[0].drugId is not a drug of your organization", "unknown_drug"),
    }


async def test_the_catalogue_of_another_organization_is_not_ours(
    api: ContractClient, us: Tenant, them: Tenant, database: Database
) -> None:
    theirs = them.organization_id
    secret = {"request_secret": "whsec_", "report_secret": "whsec_"}
    with database.transaction() as session:
        session.add(Drug(organization_id=theirs, code="drug-theirs", name="Theirs"))
        session.add(
            Pharmacy(organization_id=theirs, code="pharmacy-theirs", name="T", base_url="http://127.0.0.1:9", **secret)
        )
    found = problems(await place(api, us.case_id, placement("drug-theirs", pharmacyId="pharmacy-theirs")))
    assert {code for _, code in found.values()} == {"unknown_pharmacy", "unknown_drug"}


async def test_each_unknown_drug_is_named_at_its_place(api: ContractClient, us: Tenant) -> None:
    items = [{"drugId": drug, "quantity": "1"} for drug in ("drug-a", "drug-456", "drug-b")]
    found = problems(await place(api, us.case_id, placement(prescriptionItems=items)))
    assert set(found) == {"/order/prescriptionItems/0/drugId", "/order/prescriptionItems/2/drugId"}


@pytest.mark.parametrize("schedule", ["II", "III", "IV", "V"])
async def test_a_drug_with_a_schedule_goes_to_a_pharmacy_set_up_for_it(
    api: ContractClient, us: Tenant, schedule: str
) -> None:
    assert (await place(api, us.case_id, controlled(schedule))).status_code == 200


@pytest.mark.parametrize("schedule", ["II", "III", "IV", "V"])
async def test_a_drug_with_a_schedule_is_refused_at_any_other_pharmacy(
    api: ContractClient, us: Tenant, schedule: str
) -> None:
    body = controlled(schedule)
    body["order"]["pharmacyId"] = "pharmacy-123"
    words = f"is a schedule {schedule} drug, which this pharmacy is not set up for (21 CFR 1311.100)"
    assert problems(await place(api, us.case_id, body)) == {
        DRUG: (f"order.prescriptionItems[0].drugId {words}", "controlled_substance_refused")
    }


@pytest.mark.parametrize(
    ("schedule", "most", "section"),
    [("II", 0, "21 CFR 1306.12"), ("III", 5, "21 CFR 1306.22"), ("IV", 5, "21 CFR 1306.22")],
)
async def test_refills_of_a_drug_with_a_schedule_end_where_the_law_says(
    api: ContractClient, us: Tenant, schedule: str, most: int, section: str
) -> None:
    assert (await place(api, us.case_id, controlled(schedule, refills=most))).status_code == 200
    words = f"must be at most {most} for a schedule {schedule} drug ({section})"
    assert problems(await place(api, us.case_id, controlled(schedule, refills=most + 1))) == {
        REFILLS: (f"order.prescriptionItems[0].refillCount {words}", "too_many_refills")
    }


async def test_schedule_v_has_no_federal_number_of_refills(api: ContractClient, us: Tenant) -> None:
    assert (await place(api, us.case_id, controlled("V", refills=99))).status_code == 200


async def test_a_drug_with_a_schedule_needs_the_prescribers_dea_number(api: ContractClient, us: Tenant) -> None:
    assert problems(await place(api, us.case_id, controlled("IV", dea=None))) == {
        "/order/prescriber/dea": ("dea is required for a drug with a schedule (21 CFR 1306.05)", "dea_required")
    }


async def test_a_wrong_dea_number_is_refused_for_a_drug_with_a_schedule(api: ContractClient, us: Tenant) -> None:
    found = problems(await place(api, us.case_id, controlled("IV", dea="AP5836728")))
    assert found["/order/prescriber/dea"][1] == "dea_check_digit"
    assert "21 CFR 1306.05" in found["/order/prescriber/dea"][0]


async def test_a_wrong_dea_number_is_a_warning_for_any_other_drug(api: ContractClient, us: Tenant) -> None:
    body = placement()
    change(body, "order.prescriber.dea", "AP5836728")
    order_id = (await place(api, us.case_id, body)).json()["data"]["order"]["id"]
    assert "dea_check_digit" in {warning["code"] for warning in (await read(api, order_id))["warnings"]}


@pytest.mark.parametrize("schedule", ["III", "IV"])
async def test_a_prescription_older_than_six_months_is_refused_for_schedules_iii_and_iv(
    api: ContractClient, us: Tenant, schedule: str
) -> None:
    assert (await place(api, us.case_id, controlled(schedule, written=today(181)))).status_code == 200
    for written in (today(185), today(185) + "T10:30:00Z"):
        found = problems(await place(api, us.case_id, controlled(schedule, written=written)))
        words = "must not be more than six months ago for a schedule III or IV drug (21 CFR 1306.22)"
        assert found == {"/order/dateWritten": (f"order.dateWritten {words}", "prescription_too_old")}


@pytest.mark.parametrize(
    ("dates", "counts"),
    [
        ({"datePrescribed": 185}, "datePrescribed"),
        ({"dateSigned": 185}, "dateSigned"),
        ({"dateSigned": 185, "datePrescribed": 0}, "dateSigned"),
        ({"dateWritten": 0, "datePrescribed": 400}, None),
        ({}, None),
    ],
    ids=str,
)
async def test_the_age_is_that_of_the_first_date_that_is_known(
    api: ContractClient, us: Tenant, dates: dict[str, int], counts: str | None
) -> None:
    body = controlled("IV")
    del body["order"]["dateWritten"]
    body["order"] |= {name: today(days_ago) for name, days_ago in dates.items()}
    answer = await place(api, us.case_id, body)
    if counts is None:
        assert answer.status_code == 200
    else:
        assert set(problems(answer)) == {f"/order/{counts}"}


@pytest.mark.parametrize("name", ["dateWritten", "dateSigned", "datePrescribed"])
async def test_a_date_in_the_future_is_a_warning(api: ContractClient, us: Tenant, name: str) -> None:
    order = await read(api, await placed(api, us.case_id, **{name: today(-2)}))
    found = [(warning["path"], warning["message"]) for warning in order["warnings"] if "date" in warning["code"]]
    assert found == [(f"/order/{name}", f"order.{name} is in the future")]


async def test_today_is_not_in_the_future(api: ContractClient, us: Tenant) -> None:
    order = await read(api, await placed(api, us.case_id, dateWritten=today()))
    assert "date_in_future" not in {warning["code"] for warning in order["warnings"]}


@pytest.mark.parametrize("schedule", ["II", "V"])
async def test_an_old_prescription_is_taken_for_other_schedules(api: ContractClient, us: Tenant, schedule: str) -> None:
    assert (await place(api, us.case_id, controlled(schedule, written=today(400)))).status_code == 200


async def test_wrong_check_digits_are_warnings_on_the_order(api: ContractClient, us: Tenant) -> None:
    warnings = (await read(api, await placed(api, us.case_id)))["warnings"]
    assert warnings == [
        {
            "path": "/order/prescriber/npi",
            "message": "order.prescriber.npi has a wrong check digit",
            "code": "npi_check_digit",
        },
        {
            "path": "/order/prescriber/phoneNumber",
            "message": "order.prescriber.phoneNumber is not a number that exists",
            "code": "phone_number",
        },
    ]


async def test_an_organization_may_ask_that_a_wrong_npi_is_refused(
    api: ContractClient, us: Tenant, database: Database
) -> None:
    with database.transaction() as session:
        session.get_one(Organization, us.organization_id).refuse_wrong_npi = True
    assert problems(await place(api, us.case_id, placement())) == {
        "/order/prescriber/npi": ("order.prescriber.npi has a wrong check digit", "npi_check_digit")
    }
    body = placement()
    change(body, "order.prescriber.npi", "1234567893")
    assert (await place(api, us.case_id, body)).status_code == 200


@pytest.mark.parametrize(
    ("number", "right"),
    [("1234567893", True), ("1234567890", False), ("3234567891", False), ("1003000126", True), ("0000000000", False)],
)
def test_an_npi_carries_a_luhn_digit_and_begins_with_1_or_2(number: str, right: bool) -> None:
    assert is_npi(number) is right


@pytest.mark.parametrize(("number", "right"), [("AP5836727", True), ("B91234563", True), ("AP5836728", False)])
def test_a_dea_number_ends_in_its_checksum(number: str, right: bool) -> None:
    assert is_dea_number(number) is right


@pytest.mark.parametrize(
    ("number", "right"), [("+14155550100", True), ("(415) 555-0100", True), ("+1234567890", False), ("0000000", False)]
)
def test_a_phone_number_exists_in_its_countrys_plan(number: str, right: bool) -> None:
    assert is_phone_number(number) is right
