"""The tables, one module per aggregate. Importing this package registers them all."""

from case_orders.row import construct_plainly
from models.audit import AuditEntry, AuditHead
from models.cases import Case
from models.catalogue import Drug, Pharmacy
from models.documents import Document
from models.events import Event
from models.idempotency import IdempotentAnswer
from models.jobs import Job
from models.orders import Order, PrescriptionItem, StatusChange
from models.organizations import ApiKey, Organization
from models.references import insert_parents_first
from models.reports import PharmacyReport
from models.webhooks import Attempt, Delivery, Webhook

__all__ = [
    "ApiKey",
    "Attempt",
    "AuditEntry",
    "AuditHead",
    "Case",
    "Delivery",
    "Document",
    "Drug",
    "Event",
    "IdempotentAnswer",
    "Job",
    "Order",
    "Organization",
    "Pharmacy",
    "PharmacyReport",
    "PrescriptionItem",
    "StatusChange",
    "Webhook",
]

insert_parents_first()
construct_plainly()
