"""The rows that the contract's path examples name, so that a request made from an example meets something."""

import asyncio
import hashlib
from dataclasses import dataclass

from sqlmodel import Session, SQLModel, update

from case_orders import migrations
from case_orders.app import create_app
from case_orders.db import Database, now
from case_orders.documents import DocumentStore
from case_orders.edge import contract
from case_orders.edge.exchange import ASGIApp
from case_orders.settings import Settings
from case_orders.webhooks import events
from models import ApiKey, Delivery, Document, Event, Order, PrescriptionItem, StatusChange, Webhook
from models.order_states import OrderState
from tests.support.orders import documented
from tests.support.world import PATIENT, Tenant, populate

EXAMPLE_IDS = {
    parameter["name"]: parameter["example"]
    for parameter in contract.resolved()["components"]["parameters"].values()
    if parameter["in"] == "path"
}
PDF = b"%PDF-1.7\n%%EOF\n"


ORGANIZATION_ID = "123e4567-e89b-12d3-a456-426614174100"
KEY_ID = "123e4567-e89b-12d3-a456-426614174101"


@dataclass(frozen=True)
class World:
    """The API on a database of its own, with one organization that has one of everything."""

    application: ASGIApp
    database: Database
    settings: Settings
    key: str

    @classmethod
    def create(cls, settings: Settings, key: str) -> "World":
        database = Database(settings.database_url)
        migrations.upgrade(database.engine)
        asyncio.run(DocumentStore.open(settings.document_store).put(_document().storage_key, PDF))
        world = cls(create_app(settings, database), database, settings, key)
        world.reset()
        return world

    def reset(self) -> None:
        """Bring the database back to what it was at first, so that what a request meets depends on nothing before."""
        with self.database.transaction() as session:
            for table in reversed(SQLModel.metadata.sorted_tables):
                session.execute(table.delete())
            populate(session, self._tenant())
            # Who was seen before is remembered by the key's id, and another one would be refused at first.
            session.execute(update(ApiKey).values(id=KEY_ID))
            event = _order(session)
            session.flush()
            session.add_all([_document(), _webhook()])
            session.flush()
            session.add(_delivery(event))

    def _tenant(self) -> Tenant:
        return Tenant(
            "Example",
            key=self.key,
            organization_id=ORGANIZATION_ID,
            case_id=EXAMPLE_IDS["caseId"],
            pharmacy_id=EXAMPLE_IDS["connectionId"],
        )


def _order(session: Session) -> Event:
    """The example order as the pharmacy has it, and its first event."""
    asked = documented()["order"]
    order = Order(
        id=EXAMPLE_IDS["orderId"],
        organization_id=ORGANIZATION_ID,
        case_id=EXAMPLE_IDS["caseId"],
        pharmacy_id=EXAMPLE_IDS["connectionId"],
        pharmacy_code=asked["pharmacyId"],
        patient=PATIENT,
        shipping_address=asked["shippingAddress"],
        prescriber=asked["prescriber"],
        diagnosis=asked["diagnosis"],
        status=OrderState.SUBMITTED,
        furthest=OrderState.SUBMITTED,
        sent=True,
    )
    session.add(order)
    session.flush()
    session.add_all(
        [
            PrescriptionItem(
                order_id=order.id,
                position=0,
                drug_code="drug-456",
                drug={"id": "drug-456", "name": "Lisinopril"},
                quantity="30",
            ),
            StatusChange(order_id=order.id, position=0, status=OrderState.SUBMITTED),
        ]
    )
    return events.announce(session, order, events.EventType.ORDER_CREATED)


def _document() -> Document:
    return Document(
        id=EXAMPLE_IDS["documentId"],
        organization_id=ORGANIZATION_ID,
        order_id=EXAMPLE_IDS["orderId"],
        source_id="prescription",
        source_url="https://pharmacy.example.com/prescription.pdf",
        file_name="prescription.pdf",
        size=len(PDF),
        sha256=hashlib.sha256(PDF).hexdigest(),
        stored_at=now(),
    )


def _webhook() -> Webhook:
    return Webhook(
        id=EXAMPLE_IDS["webhookId"],
        organization_id=ORGANIZATION_ID,
        url="https://hooks.example.com/orders",
        events=[events.EventType.ORDER_CREATED],
        secret="whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD",
    )


def _delivery(event: Event) -> Delivery:
    return Delivery(
        id=EXAMPLE_IDS["deliveryId"], webhook_id=EXAMPLE_IDS["webhookId"], event_id=event.id, event_type=event.type
    )
