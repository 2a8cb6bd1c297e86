"""Where prescription documents are kept, and how they are fetched from the pharmacy."""

from case_orders.documents.errors import (
    DocumentExists,
    DocumentMissing,
    StoreUnavailable,
)
from case_orders.documents.fetch import Fetched, FetchFailed, fetch_pdf
from case_orders.documents.store import DocumentStore

__all__ = [
    "DocumentExists",
    "DocumentMissing",
    "DocumentStore",
    "FetchFailed",
    "Fetched",
    "StoreUnavailable",
    "fetch_pdf",
]
