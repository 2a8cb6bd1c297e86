"""A real endpoint, an order with a stored document, and deliveries that are made one attempt at a time."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp import web
from sqlmodel import Session, col, select

from case_orders import claims, progress
from case_orders.db import Database, now
from case_orders.documents import DocumentStore
from case_orders.envelope import JSON
from case_orders.links import Links
from case_orders.outbound import Outbound
from case_orders.settings import Settings
from case_orders.signing_secrets import new_secret
from case_orders.webhooks.delivery import deliver_webhook
from case_orders.webhooks.events import EventType, announce
from case_orders.work import Context
from models import Attempt, Delivery, Document, Job, Order, PrescriptionItem, Webhook
from tests.pharmacies.conftest import listening
from tests.support.orders import placement
from tests.support.world import ADDRESS, PATIENT, Tenant, populate

PDF = b"%PDF-1.7 a prescription\n%%EOF\n"


@dataclass
class Received:
    """One message, as it came."""

    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> JSON:
        value: JSON = orjson.loads(self.body)
        return value


@dataclass
class Endpoint:
    """A customer's endpoint: answers as it is told, and remembers."""

    url: str = ""
    answer: Callable[[], Awaitable[web.Response]] | None = None
    status: int = 204
    headers: dict[str, str] = field(default_factory=dict)
    received: list[Received] = field(default_factory=list)

    async def receive(self, request: web.Request) -> web.Response:
        self.received.append(Received(dict(request.headers), await request.read()))
        if self.answer is not None:
            return await self.answer()
        return web.Response(status=self.status, headers=self.headers)


@pytest.fixture
async def endpoint() -> AsyncIterator[Endpoint]:
    endpoint = Endpoint()
    app = web.Application(client_max_size=2**20)
    app.add_routes([web.post("/hook", endpoint.receive), web.post("/elsewhere", endpoint.receive)])
    async with listening(app) as url:
        endpoint.url = f"{url}/hook"
        yield endpoint


@dataclass
class Desk:
    """An organization with an order and a webhook; `attempt` makes one attempt at what is to be delivered."""

    context: Context
    tenant: Tenant
    order_id: str
    document_id: str

    @property
    def database(self) -> Database:
        return self.context.database

    def subscribe(self, url: str, **columns: Any) -> str:
        """A webhook for every event; its id."""
        with self.database.transaction() as session:
            webhook = Webhook(
                organization_id=self.tenant.organization_id,
                url=url,
                events=list(EventType),
                secret=new_secret(),
                **columns,
            )
            session.add(webhook)
            return webhook.id

    def announce(self, event_type: EventType = EventType.ORDER_STATUS_CHANGED, **data: Any) -> None:
        with self.database.transaction() as session:
            announce(session, progress.lock(session, self.order_id), event_type, **data)

    async def attempt(self, number: int = 1) -> Job:
        """The `number`th attempt at the oldest delivery; the job as it was claimed."""
        with self.database.transaction() as session:
            job = session.exec(select(Job).order_by(col(Job.id))).first()
            assert job is not None
            job.due_at, job.attempt = now() - timedelta(seconds=1), number - 1
            session.add(job)
        with self.database.transaction() as session:
            (job,) = claims.claim(session, claims.Limits(1, 1), timedelta(minutes=1), {})
        await deliver_webhook(self.context, job)
        return job

    def claim_all(self) -> list[Job]:
        with self.database.transaction() as session:
            return claims.claim(session, claims.Limits(32, 32), timedelta(minutes=1), {})

    def webhook_of(self, job: Job) -> str:
        with self.database.transaction() as session:
            return session.get_one(Delivery, job.subject).webhook_id

    def webhook(self, webhook_id: str) -> Webhook:
        with self.database.transaction() as session:
            return session.get_one(Webhook, webhook_id)

    def change(self, webhook_id: str, **columns: Any) -> None:
        with self.database.transaction() as session:
            webhook = session.get_one(Webhook, webhook_id)
            for name, value in columns.items():
                setattr(webhook, name, value)
            session.add(webhook)

    def delivery(self) -> Delivery:
        with self.database.transaction() as session:
            return session.exec(select(Delivery)).one()

    def attempts(self) -> list[Attempt]:
        with self.database.transaction() as session:
            return list(session.exec(select(Attempt).order_by(col(Attempt.id))))

    def jobs(self) -> list[Job]:
        with self.database.transaction() as session:
            return list(session.exec(select(Job).order_by(col(Job.id))))


@pytest.fixture
async def desk(new_database: Callable[[], str], tmp_path: Path) -> AsyncIterator[Desk]:
    settings = Settings(
        data_dir=tmp_path,
        database_url=new_database(),
        public_url="http://orders.example",
        outbound_allow=("127.0.0.0/8",),
    )
    database, tenant = Database(settings.database_url), Tenant("Clinic")
    with database.transaction() as session:
        populate(session, tenant)
        session.flush()
        order, document = _order(session, tenant)
    async with Outbound(settings.outbound_allow) as outbound:
        store = DocumentStore.open(settings.document_store)
        await store.put(document.storage_key, PDF)
        yield Desk(
            Context(settings, database, outbound, outbound, store, Links.from_settings(settings)),
            tenant,
            order.id,
            document.id,
        )
    await database.close()


def _order(session: Session, tenant: Tenant) -> tuple[Order, Document]:
    asked = placement()["order"]
    order = Order(
        organization_id=tenant.organization_id,
        case_id=tenant.case_id,
        pharmacy_id=tenant.pharmacy_id,
        pharmacy_code="pharmacy-123",
        patient=PATIENT,
        shipping_address=ADDRESS,
        patient_health_info=asked["patientHealthInfo"],
        prescriber=asked["prescriber"],
        diagnosis=asked["diagnosis"],
        date_written=asked["dateWritten"],
    )
    progress.begin(session, order)
    item = asked["prescriptionItems"][0]
    session.add(
        PrescriptionItem(
            order_id=order.id,
            position=0,
            drug_code=item["drugId"],
            drug={"id": item["drugId"], "name": "Lisinopril"},
            direction=item["direction"],
            quantity=item["quantity"],
            refill_count=item["refillCount"],
        )
    )
    document = Document(
        organization_id=tenant.organization_id,
        order_id=order.id,
        source_id="prescription",
        source_url="http://127.0.0.1:9/documents/1",
        file_name="RX-000001.pdf",
        size=len(PDF),
        sha256="0" * 64,
        stored_at=now(),
    )
    session.add(document)
    return order, document


def health_data() -> set[str]:
    """Every value about the patient, the prescriber and the prescription that the order holds."""
    asked = placement()["order"]
    kept = {name: asked[name] for name in ("patientHealthInfo", "prescriber", "diagnosis", "shippingAddress")}
    items = [{"direction": item["direction"]} for item in asked["prescriptionItems"]]
    return {text for text in _texts([kept, items, PATIENT]) if len(text) > 3}


def _texts(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [text for part in value.values() for text in _texts(part)]
    if isinstance(value, list):
        return [text for part in value for text in _texts(part)]
    return [value] if isinstance(value, str) else []


async def never() -> web.Response:
    await asyncio.Event().wait()
    raise AssertionError("unreachable")
