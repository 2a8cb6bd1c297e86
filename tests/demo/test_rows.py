"""The demonstration's rows."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import pytest
from sqlmodel import Session, SQLModel, func, select

from case_orders import auth
from case_orders.db import Database
from case_orders.demo import example, rows
from case_orders.edge import contract
from case_orders.errors import Unauthorized
from case_orders.pharmacies.sandbox.behaviours import BEHAVIOURS
from handlers.cases import perform_case_action
from models import ApiKey, Case, Drug, Order, Organization, Pharmacy

Transaction = Callable[[], AbstractContextManager[Session]]


@pytest.fixture
def transaction(new_database: Callable[[], str]) -> Iterator[Transaction]:
    database = Database(new_database())
    yield database.transaction
    database.dispose()


def seed(transaction: Transaction, url: str) -> None:
    with transaction() as session:
        rows.seed(session, pharmacy_url=url, request_secret=f"{url}-1", report_secret=f"{url}-2")


def test_the_documented_example_can_be_placed(transaction: Transaction) -> None:
    seed(transaction, "http://127.0.0.1:1")
    body = contract.document()["components"]["examples"]["PlaceOrder"]["value"]
    with transaction() as session:
        caller = auth.authenticate(session, example.API_KEY)
        perform_case_action(session, caller, example.CASE_ID, body)
        assert session.exec(select(Order)).one().pharmacy_code == "pharmacy-123"
    assert caller.scopes == auth.SCOPES


def test_the_patient_is_one_of_the_contract(transaction: Transaction) -> None:
    assert contract.component("Patient").problems(rows.PATIENT) == []


def test_seeding_twice_adds_nothing_and_leads_the_pharmacies_to_the_new_address(transaction: Transaction) -> None:
    tables: list[type[SQLModel]] = [ApiKey, Case, Drug, Organization, Pharmacy]
    counts = []
    for url in ("http://127.0.0.1:1", "http://127.0.0.1:2"):
        seed(transaction, url)
        with transaction() as session:
            counts.append([session.exec(select(func.count()).select_from(table)).one() for table in tables])
    assert counts[0] == counts[1]
    with transaction() as session:
        pharmacies = {pharmacy.code: pharmacy for pharmacy in session.exec(select(Pharmacy))}
    assert {code: row.accepts_controlled_substances for code, row in pharmacies.items()} == {
        "pharmacy-123": False,
        "pharmacy-cs": True,
    }
    for row in pharmacies.values():
        assert (row.base_url, row.request_secret, row.report_secret) == (url, f"{url}-1", f"{url}-2")


def test_there_is_a_drug_for_each_behaviour_and_each_schedule(transaction: Transaction) -> None:
    seed(transaction, "http://127.0.0.1:1")
    with transaction() as session:
        schedules = {drug.code: drug.schedule for drug in session.exec(select(Drug))}
    assert set(BEHAVIOURS) < set(schedules)
    assert [schedules[f"drug-schedule-{name}"] for name in ("ii", "iii", "iv", "v")] == ["II", "III", "IV", "V"]
    assert schedules["drug-456"] is None


def test_a_withdrawn_key_opens_nothing_until_the_rows_are_written_again(transaction: Transaction) -> None:
    seed(transaction, "http://127.0.0.1:1")
    with transaction() as session:
        rows.withdraw(session)
    with transaction() as session, pytest.raises(Unauthorized):
        auth.authenticate(session, example.API_KEY)
    seed(transaction, "http://127.0.0.1:1")
    with transaction() as session:
        assert auth.authenticate(session, example.API_KEY).scopes == auth.SCOPES
