"""Values that lie sealed in the database, bound to their row."""

from typing import Any

import pytest
from sqlalchemy import text
from sqlmodel import Session

from case_orders import keyring
from case_orders.db import Database
from case_orders.keyring import SealBroken, UnknownKey
from models import Case, Order, Organization, Pharmacy, PharmacyReport, PrescriptionItem, StatusChange, Webhook
from models.sealing import SealedTable, context
from tests.support import keys
from tests.support.orders import documented
from tests.support.world import PATIENT, Tenant


def raw(database: Database, statement: str, **values: Any) -> Any:
    with database.transaction() as session:
        return session.connection().execute(text(statement), values)


def case(database: Database, us: Tenant, **patient: str) -> str:
    with database.transaction() as session:
        row = Case(organization_id=us.organization_id, patient=PATIENT | patient)
        session.add(row)
        return row.id


def read(database: Database, case_id: str) -> dict[str, Any]:
    with database.transaction() as session:
        patient: dict[str, Any] = session.get_one(Case, case_id).patient
        return patient


def test_what_is_sealed_comes_back_and_is_not_in_the_row(database: Database, us: Tenant) -> None:
    case_id = case(database, us, firstName="Zenobia")
    assert read(database, case_id) == PATIENT | {"firstName": "Zenobia"}
    with database.transaction() as session:
        (sealed,) = session.connection().execute(text("SELECT sealed FROM cases WHERE id = :id"), {"id": case_id}).one()
    assert b"Zenobia" not in bytes(sealed)
    assert keyring.sealed_under(bytes(sealed)) == keyring.installed().current


def test_several_values_of_a_row_are_kept_apart(database: Database, us: Tenant) -> None:
    webhook = Webhook(organization_id=us.organization_id, url="https://a.example", events=[], secret="s")
    with database.transaction() as session:
        session.add(webhook)
    with database.transaction() as session:
        row = session.get_one(Webhook, webhook.id)
        assert (row.url, row.secret, row.previous_secret) == ("https://a.example", "s", None)
        row.previous_secret, row.secret = row.secret, "t"
    with database.transaction() as session:
        row = session.get_one(Webhook, webhook.id)
        assert (row.url, row.secret, row.previous_secret) == ("https://a.example", "t", "s")
        row.previous_secret = None
    with database.transaction() as session:
        assert session.get_one(Webhook, webhook.id).previous_secret is None


def test_a_row_that_is_read_anew_shows_what_another_transaction_wrote(database: Database, us: Tenant) -> None:
    case_id = case(database, us)
    with Session(database.engine) as session:
        row = session.get_one(Case, case_id)
        assert row.patient["firstName"] == "Jane"
        session.rollback()
        with database.transaction() as other:
            other.get_one(Case, case_id).patient = PATIENT | {"firstName": "Zenobia"}
        assert row.patient["firstName"] == "Zenobia"


def test_a_value_that_is_undone_is_not_there_any_more(database: Database, us: Tenant) -> None:
    case_id = case(database, us)
    with Session(database.engine) as session:
        row = session.get_one(Case, case_id)
        row.patient = PATIENT | {"firstName": "Zenobia"}
        session.flush()
        session.rollback()
        assert row.patient["firstName"] == "Jane"


def test_what_is_copied_to_another_row_does_not_open_there(database: Database, us: Tenant) -> None:
    ours, other = case(database, us), case(database, us)
    raw(database, "UPDATE cases SET sealed = (SELECT sealed FROM cases WHERE id = :a) WHERE id = :b", a=ours, b=other)
    assert read(database, ours) == PATIENT
    with pytest.raises(SealBroken):
        read(database, other)


def test_what_is_copied_to_another_table_does_not_open_there(database: Database, us: Tenant) -> None:
    case_id = case(database, us)
    statement = "UPDATE pharmacies SET sealed = (SELECT sealed FROM cases WHERE id = :a) WHERE id = :b"
    raw(database, statement, a=case_id, b=us.pharmacy_id)
    with database.transaction() as session, pytest.raises(SealBroken):
        _ = session.get_one(Pharmacy, us.pharmacy_id).request_secret


def test_what_was_sealed_for_another_column_does_not_open(database: Database, us: Tenant) -> None:
    case_id = case(database, us)
    elsewhere = keyring.installed().seal(b'{"patient":{}}', f"cases/other/{case_id}")
    raw(database, "UPDATE cases SET sealed = :sealed WHERE id = :id", sealed=elsewhere, id=case_id)
    with pytest.raises(SealBroken):
        read(database, case_id)


def test_a_row_that_was_changed_from_outside_does_not_open(database: Database, us: Tenant) -> None:
    case_id = case(database, us)
    for change in (b"", b"\x00", b"plain text"):
        raw(database, "UPDATE cases SET sealed = :sealed WHERE id = :id", sealed=change, id=case_id)
        with pytest.raises(SealBroken):
            read(database, case_id)


def test_a_row_of_an_unknown_key_does_not_open(database: Database, us: Tenant) -> None:
    case_id = case(database, us)
    keys.use(keyring.new_entry())
    with pytest.raises(UnknownKey):
        read(database, case_id)


def test_a_row_needs_its_values_and_its_key_from_the_start() -> None:
    with pytest.raises(TypeError, match="patient is required"):
        Case(organization_id="1")
    with pytest.raises(TypeError, match="primary key"):
        PrescriptionItem(order_id="1", drug_code="a", drug={}, quantity="1")


def test_without_a_ring_only_rows_with_nothing_sealed_can_be_made() -> None:
    keyring.install(keyring._none)
    Organization(name="Clinic")
    with pytest.raises(RuntimeError, match="no keyring"):
        Case(organization_id="1", patient=PATIENT)


def test_a_required_value_cannot_be_taken_away() -> None:
    row = Case(organization_id="1", patient=PATIENT)
    with pytest.raises(TypeError, match="patient is required"):
        row.patient = None  # type: ignore[assignment]
    assert row.patient == PATIENT


def test_a_row_that_is_printed_shows_no_sealed_value() -> None:
    order = documented()["order"]
    row = Order(
        organization_id="1",
        case_id="1",
        pharmacy_id="1",
        pharmacy_code="1",
        patient=PATIENT,
        shipping_address=order["shippingAddress"],
        prescriber=order["prescriber"],
        diagnosis=order["diagnosis"],
    )
    assert row.diagnosis == order["diagnosis"]
    assert order["diagnosis"] not in repr(row)
    assert order["prescriber"]["npi"] not in repr(row)


def test_only_the_last_part_of_a_primary_key_may_hold_a_slash() -> None:
    """Otherwise two rows could share a context."""
    free = {"idempotent_answers": "key", "pharmacy_reports": "message_id"}
    for model in SealedTable.__subclasses__():
        key = [column.name for column in SealedTable.metadata.tables[str(model.__tablename__)].primary_key]
        assert [name for name in key[:-1] if not name.endswith("_id") and name != "operation"] == []
        assert key[-1] in (free.get(str(model.__tablename__)), "id", "position")


def test_every_table_has_a_context_of_its_own() -> None:
    assert context("cases", "1") != context("orders", "1")
    assert StatusChange(order_id="1", position=0, status="RECEIVED")._context() == "status_changes/sealed/1/0"
    report = PharmacyReport(pharmacy_id="1", message_id="a/b", order_id="2", body={})
    assert report._context() == "pharmacy_reports/sealed/1/a/b"
