"""What requests leave in the audit trail: what they did, what they were shown, and that they were refused."""

import time
from functools import cache
from typing import Any

import inflection
from sqlalchemy.orm import Session

from case_orders.audit.entries import Entry
from case_orders.audit.recording import record
from case_orders.db import UNAVAILABLE, Busy, Database, Uncertain
from case_orders.edge.exchange import Exchange
from case_orders.envelope import Answer, Download
from case_orders.errors import Refusal, TooManyRequests, Unauthorized
from models.audit import NO_ORGANIZATION

REFUSALS_PER_SECOND = 10

NOBODY = "nobody"
"""Who acts when nobody was recognized."""


class Trail:
    """What one request leaves. It acts as its caller, or as whom a handler recognized without a key."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        caller = exchange.caller
        self.actor, self.chain = (
            (f"key:{caller.key_id}", caller.organization_id) if caller else (NOBODY, NO_ORGANIZATION)
        )

    def recognize(self, actor: str, organization_id: str) -> None:
        """Say who acts, and for which organization, where no key tells it."""
        self.actor, self.chain = actor, organization_id

    def record(self, session: Session, answer: Answer | Download) -> None:
        """Have what is answered told in the transaction of `session`."""
        outcome, shown = (200, {}) if isinstance(answer, Download) else (answer.status, _ids(answer))
        record(session, self.entry(str(outcome), **shown))

    def entry(self, outcome: str, **records: Any) -> Entry:
        exchange = self._exchange
        return Entry(
            self.actor,
            exchange.operation_id,
            outcome,
            self.chain,
            {**exchange.records, **records},
            exchange.client,
            exchange.request_id,
        )


def _ids(answer: Answer) -> dict[str, Any]:
    """The ids of what an answer holds: of `case` as `case_id`, of the list `cases` as `case_ids`."""
    ids: dict[str, Any] = {}
    for name, value in (answer.data or {}).items():
        if isinstance(value, dict) and "id" in value:
            ids[f"{name}_id"] = value["id"]
        elif isinstance(value, list) and all("id" in row for row in value):
            ids[f"{_singular(name)}_ids"] = [row["id"] for row in value]
    return ids


_singular = cache(inflection.singularize)


class Refusals:
    """Records what was refused, in transactions of their own.

    Anybody can be refused, so of those whom nobody recognized, whose key is no longer valid or who ask too often, only
    so many a second are recorded; the next entry says how many were left out. One process has one of these.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._room, self._since = float(REFUSALS_PER_SECOND), time.monotonic()
        self._left_out = 0

    async def record(self, trail: Trail, refusal: Refusal, **records: Any) -> None:
        """Have a refusal told. That of somebody known is durable then; raises what `Database.write` raises if not."""
        outcome = f"{refusal.status} {refusal.code}"
        if trail.actor == NOBODY or isinstance(refusal, (Unauthorized, TooManyRequests)):
            await self._record_sparingly(trail, outcome, records)
        else:
            await self._write(trail.entry(outcome, **records))

    async def _record_sparingly(self, trail: Trail, outcome: str, records: dict[str, Any]) -> None:
        """Nobody is shown anything, and nobody learns from the answer how the database is."""
        left_out, self._left_out = self._left_out, 0
        try:
            if self._has_room():
                await self._write(trail.entry(outcome, **records, **({"left_out": left_out} if left_out else {})))
                return
        except (Busy, Uncertain, *UNAVAILABLE):
            pass
        self._left_out += left_out + 1

    async def _write(self, entry: Entry) -> None:
        await self._database.write(lambda session: record(session, entry))

    def _has_room(self) -> bool:
        """Whether one more fits; if so it counts. Room for a second's worth comes back over a second."""
        moment = time.monotonic()
        self._room = min(self._room + (moment - self._since) * REFUSALS_PER_SECOND, REFUSALS_PER_SECOND)
        self._since = moment
        if self._room < 1:
            return False
        self._room -= 1
        return True
