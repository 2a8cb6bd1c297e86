"""The one guarded HTTP client for every URL that a customer or a pharmacy gives."""

from case_orders.outbound.client import Outbound, Reply
from case_orders.outbound.errors import (
    BadAnswer,
    Blocked,
    OutboundError,
    TimedOut,
    TooLarge,
    Unreachable,
)

__all__ = [
    "BadAnswer",
    "Blocked",
    "Outbound",
    "OutboundError",
    "Reply",
    "TimedOut",
    "TooLarge",
    "Unreachable",
]
