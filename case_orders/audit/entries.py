"""What the audit trail tells of one action."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from case_orders.db import now
from models.audit import NO_ORGANIZATION
from models.jobs import SUBJECTS, Claimed

SYSTEM = "system"
"""Who acts when a worker does."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One action. `records` are ids of ours by what they name, such as `order_id`; never health data, never a name.

    `actor` is `key:ID`, `pharmacy:ID`, `link`, `operator:LOGIN`, `system` or `nobody`; `action` an operationId, a
    command or a kind of job; `outcome` an HTTP status, with its code if it is a refusal, or a word.
    """

    actor: str
    action: str
    outcome: str
    chain: str = NO_ORGANIZATION
    records: Mapping[str, Any] = field(default_factory=dict)
    client: str | None = None
    request_id: str | None = None
    at: datetime = field(default_factory=now)


def of_job(job: Claimed, outcome: str) -> Entry:
    """What a worker did for an organization."""
    return Entry(SYSTEM, job.kind.value, outcome, job.organization_id, {SUBJECTS[job.kind]: job.subject})
