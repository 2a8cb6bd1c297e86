"""What a connected pharmacy reports: its signature is checked, the report is stored, a worker applies it."""

from collections.abc import Mapping

from sqlmodel import Session

from case_orders.audit import Trail
from case_orders.db import Database
from case_orders.edge.exchange import Exchange
from case_orders.edge.rates import FailedSignatures, Rates
from case_orders.envelope import JSON, Answer, accepted
from case_orders.errors import Conflict, Unauthorized, not_found
from case_orders.lookups import Count, Lookup
from case_orders.outbox import enqueue
from case_orders.pharmacies.signing import verify_report
from case_orders.signing_secrets import new_secret
from models import Order, Pharmacy, PharmacyReport
from models.jobs import JobKind

MOST_REPORTS = 1000
"""How many reports are kept of an order, so that no pharmacy fills the database; its news are asked for instead."""


async def receive_pharmacy_event(
    database: Database,
    exchange: Exchange,
    report_rates: Rates,
    failed_signatures: FailedSignatures,
    connection_id: str,
    webhook_id: str,
    webhook_timestamp: str,
    webhook_signature: str,
    body: JSON,
    raw_body: bytes,
    trail: Trail,
) -> Answer:
    headers = {"webhook-id": webhook_id, "webhook-timestamp": webhook_timestamp, "webhook-signature": webhook_signature}
    # Before anything waits in the queue of writes: whoever cannot sign must not fill it.
    with failed_signatures.attempt(exchange.client, connection_id):
        pharmacy = await _sender(database, connection_id, headers, raw_body)
    trail.recognize(f"pharmacy:{pharmacy.id}", pharmacy.organization_id)
    await report_rates.charge(exchange, {"pharmacy": pharmacy.id})
    answer = accepted("Report accepted")

    def act(session: Session) -> None:
        _store(session, pharmacy, webhook_id, body)
        trail.record(session, answer)

    order_id = _order_id(body)
    asks = [_CAME.ask(pharmacy.id, webhook_id), _ORDERS.ask(order_id, pharmacy.id), _REPORTS.ask(order_id)]
    await database.write(act, asks)
    return answer


_PHARMACIES = Lookup(Pharmacy, "id")
_ORDERS = Lookup(Order, "id", "pharmacy_id")
_CAME = Lookup(PharmacyReport, "pharmacy_id", "message_id")
_REPORTS = Count(PharmacyReport, "order_id")


def _order_id(body: JSON) -> str:
    order_id: str = body["orderId"]
    return order_id.lower()


async def _sender(database: Database, connection_id: str, headers: Mapping[str, str], raw_body: bytes) -> Pharmacy:
    """Raises `Unauthorized`, after the same work whether the connection or the signature is wrong."""
    ask = _PHARMACIES.ask(connection_id)
    pharmacy = await database.read(lambda session: _PHARMACIES.one(session, connection_id), [ask])
    is_signed = verify_report((pharmacy or _stranger(connection_id)).report_secret, headers, raw_body)
    if pharmacy is None or not is_signed:
        raise Unauthorized("Signature is not valid", "invalid_signature")
    return pharmacy


def _stranger(connection_id: str) -> Pharmacy:
    """A row in the place of one that does not exist. To seal its secret takes as long as to open that of a real one."""
    secret = new_secret()
    return Pharmacy(
        id=connection_id, organization_id="", code="", name="", base_url="", request_secret=secret, report_secret=secret
    )


def _store(session: Session, pharmacy: Pharmacy, message_id: str, body: JSON) -> None:
    """Keep the report with the job to apply it, unless it came before."""
    if _CAME.one(session, pharmacy.id, message_id) is not None:
        return
    order = _ORDERS.one(session, _order_id(body), pharmacy.id)
    if order is None:
        raise not_found("Order")
    if _REPORTS.of(session, order.id) >= MOST_REPORTS:
        raise Conflict(f"Order already has {MOST_REPORTS} reports", "too_many_reports")
    report = PharmacyReport(pharmacy_id=pharmacy.id, message_id=message_id, order_id=order.id, body=body)
    session.add(report)
    enqueue(session, JobKind.APPLY_REPORT, report.id, organization_id=pharmacy.organization_id)
