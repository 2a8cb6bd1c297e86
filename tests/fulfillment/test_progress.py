"""The one door through which orders change, on the database where several may come through at once."""

from collections.abc import Iterator

import pytest
from sqlalchemy import text

from case_orders import migrations, progress
from case_orders.db import Database, new_id
from models import Case, Order, PharmacyReport
from tests.support.orders import placement
from tests.support.postgres import ThrowawayPostgres
from tests.support.world import ADDRESS, PATIENT, Tenant, populate


@pytest.fixture
def shared(postgres: ThrowawayPostgres) -> Iterator[Database]:
    database = Database(postgres.create_database())
    migrations.upgrade(database.engine)
    yield database
    database.dispose()


@pytest.fixture
def order(shared: Database) -> Order:
    tenant, asked = Tenant("Clinic"), placement()["order"]
    with shared.transaction() as session:
        populate(session, tenant)
        session.flush()
        order = Order(
            organization_id=tenant.organization_id,
            case_id=tenant.case_id,
            pharmacy_id=tenant.pharmacy_id,
            pharmacy_code="pharmacy-123",
            patient=PATIENT,
            shipping_address=ADDRESS,
            prescriber=asked["prescriber"],
            diagnosis=asked["diagnosis"],
        )
        progress.begin(session, order)
        return order


def test_a_report_is_stored_without_waiting_for_whoever_changes_its_order(shared: Database, order: Order) -> None:
    """Else a batch that applies reports and one that stores them would hold each other up."""
    with shared.transaction() as changing, shared.transaction() as storing:
        progress.lock(changing, order.id)
        storing.connection().execute(text("SET LOCAL lock_timeout = '100ms'"))
        storing.add(PharmacyReport(pharmacy_id=order.pharmacy_id, message_id="1", order_id=order.id, body={}))
        storing.flush()


def another(order: Order) -> Order:
    """A new order that asks for the same."""
    return Order(**order.model_dump(exclude={"id"}) | order.opened() | {"id": new_id(), "last_sequence": 0})


def test_events_are_numbered_on_from_the_case_as_it_is_and_not_as_it_was_read(shared: Database, order: Order) -> None:
    """A session that looked at the case before another event was written."""
    with shared.transaction() as late:
        late.get_one(Case, order.case_id)
        with shared.transaction() as session:
            progress.begin(session, another(order))
        progress.begin(late, another(order))
    with shared.transaction() as session:
        assert session.get_one(Case, order.case_id).last_position == 3
