"""The sandbox pharmacy's order book: orders, how far they are, and the reports that are still to be sent.

It is one SQLite file. Every change is one transaction, so that a pharmacy that was killed goes on where it was.
"""

import json
import sqlite3
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from case_orders.pharmacies.sandbox.behaviours import Behaviour, Step, behaviour_of

FINAL = frozenset({"COMPLETED", "CANCELED", "REJECTED"})
SHIPPED_OR_FINAL = FINAL | {"SHIPPED"}

_TABLES = """
CREATE TABLE IF NOT EXISTS submissions (order_id TEXT PRIMARY KEY, count INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS orders (
    number INTEGER PRIMARY KEY,
    order_id TEXT NOT NULL UNIQUE,
    content TEXT NOT NULL,
    origin TEXT NOT NULL,
    steps_taken INTEGER NOT NULL DEFAULT 0,
    fills INTEGER NOT NULL DEFAULT 0,
    cancel_pending INTEGER NOT NULL DEFAULT 0,
    report TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS reports (
    id INTEGER PRIMARY KEY,
    order_id TEXT NOT NULL REFERENCES orders (order_id),
    message_id TEXT NOT NULL,
    content TEXT NOT NULL,
    turn INTEGER  -- NULL while held back
);
CREATE INDEX IF NOT EXISTS reports_by_turn ON reports (order_id, turn);
"""


@dataclass(frozen=True)
class BookedOrder:
    """An order that the pharmacy took; `report` is all that it has to say of it so far, a `PharmacyReport`.

    `origin` is the scheme and authority under which the service reached the pharmacy.
    """

    content: dict[str, Any]
    origin: str
    steps_taken: int
    cancel_pending: bool
    report: dict[str, Any]

    @property
    def id(self) -> str:
        return str(self.content["orderId"])

    @property
    def reference(self) -> str:
        return str(self.report["reference"])

    @property
    def status(self) -> str | None:
        return self.report.get("status")

    @property
    def behaviour(self) -> Behaviour:
        return behaviour_of(self.content)

    @property
    def next_step(self) -> Step | None:
        left = self.behaviour.steps[self.steps_taken :]
        return left[0] if left and self.status not in FINAL else None


@dataclass(frozen=True)
class DueReport:
    """A report to be sent to `url`; a repetition keeps its `message_id`."""

    id: int
    message_id: str
    url: str
    body: bytes


class OrderBook:
    """Everything the pharmacy remembers. sqlite3.OperationalError if another process holds the book."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(path, timeout=0.5)
        # A second pharmacy on the same book would fill its orders twice.
        self._db.execute("PRAGMA locking_mode = EXCLUSIVE")
        self._db.execute("PRAGMA journal_mode = WAL")
        # Enough to survive a kill; a power cut may cost a sandbox its last orders.
        self._db.execute("PRAGMA synchronous = NORMAL")
        self._db.executescript(_TABLES)

    def close(self) -> None:
        self._db.close()

    def count_submission(self, order_id: str) -> int:
        """How often the order was submitted, this time included."""
        with self._db:
            (count,) = self._db.execute(
                "INSERT INTO submissions VALUES (?, 1)"
                " ON CONFLICT (order_id) DO UPDATE SET count = count + 1 RETURNING count",
                (order_id,),
            ).fetchone()
        return int(count)

    def take(self, order: Mapping[str, Any], origin: str) -> BookedOrder:
        with self._db:
            (orders,) = self._db.execute("SELECT count(*) FROM orders").fetchone()
            report = {
                "orderId": order["orderId"],
                "occurredAt": _now(),
                "reference": f"RX-{orders + 1:06d}",
            }
            self._db.execute(
                "INSERT INTO orders (order_id, content, origin, report) VALUES (?, ?, ?, ?)",
                (order["orderId"], json.dumps(order), origin, json.dumps(report)),
            )
        return self.order(order["orderId"])

    def find(self, order_id: str) -> BookedOrder | None:
        row = self._db.execute(
            "SELECT content, origin, steps_taken, cancel_pending, report FROM orders WHERE order_id = ?",
            (order_id,),
        ).fetchone()
        if row is None:
            return None
        content, origin, steps_taken, cancel_pending, report = row
        return BookedOrder(
            json.loads(content),
            origin,
            steps_taken,
            bool(cancel_pending),
            json.loads(report),
        )

    def order(self, order_id: str) -> BookedOrder:
        """An order that is known to be in the book."""
        found = self.find(order_id)
        if found is None:
            raise KeyError(order_id)
        return found

    def order_ids(self) -> list[str]:
        return [order_id for (order_id,) in self._db.execute("SELECT order_id FROM orders ORDER BY number")]

    def advance(self, order: BookedOrder, step: Step, news: Mapping[str, Any]) -> None:
        """Take the order's next step, with `news` to report beside what the step itself says."""
        with self._db:
            self._db.execute(
                "UPDATE orders SET steps_taken = steps_taken + 1, fills = fills + ? WHERE order_id = ?",
                (step.status == "SHIPPED", order.id),
            )
            self._record(order, {"status": step.status, **step.fields, **news})

    def grant_cancel(self, order: BookedOrder) -> None:
        with self._db:
            self._db.execute("UPDATE orders SET cancel_pending = 0 WHERE order_id = ?", (order.id,))
            reason = "Canceled on request"
            self._record(
                order,
                {
                    "status": "CANCELED",
                    "reason": reason,
                    "cancellation": {"granted": True},
                },
            )

    def postpone_cancel(self, order: BookedOrder) -> None:
        with self._db:
            self._db.execute("UPDATE orders SET cancel_pending = 1 WHERE order_id = ?", (order.id,))

    def next_report(self, order_id: str) -> DueReport | None:
        """The report that is to be sent first."""
        row = self._db.execute(
            "SELECT id, message_id, orders.content, reports.content FROM reports JOIN orders USING (order_id)"
            " WHERE order_id = ? AND turn IS NOT NULL ORDER BY turn LIMIT 1",
            (order_id,),
        ).fetchone()
        if row is None:
            return None
        report_id, message_id, order, body = row
        return DueReport(report_id, message_id, json.loads(order)["callbackUrl"], body.encode())

    def strike_report(self, report: DueReport) -> None:
        """The report arrived."""
        with self._db:
            self._db.execute("DELETE FROM reports WHERE id = ?", (report.id,))

    def summary(self) -> dict[str, dict[str, Any]]:
        """Counts and states by order id, without anything about patients."""
        rows = self._db.execute(
            "SELECT order_id, count, fills, report, (SELECT count(*) FROM reports r WHERE r.order_id = s.order_id)"
            " FROM submissions s LEFT JOIN orders USING (order_id)"
        )
        return {
            order_id: {
                "submissions": submissions,
                "fills": fills or 0,
                "status": json.loads(report).get("status") if report else None,
                "unsentReports": unsent,
            }
            for order_id, submissions, fills, report, unsent in rows
        }

    def _record(self, order: BookedOrder, news: Mapping[str, Any]) -> None:
        """Add `news` to what is said of the order, and queue the report of it."""
        said = {
            "orderId": order.id,
            "occurredAt": _now(),
            "reference": order.reference,
            **news,
        }
        known = {name: value for name, value in order.report.items() if name != "reason"}
        self._db.execute(
            "UPDATE orders SET report = ? WHERE order_id = ?",
            (json.dumps(known | said), order.id),
        )
        if order.behaviour.silent:
            return
        self._queue(order.id, json.dumps(said), _message_ids(order.behaviour))
        if news.get("status") not in order.behaviour.reported_late:
            self._release(order.id)

    def _queue(self, order_id: str, report: str, message_ids: Iterable[str]) -> None:
        rows = [(order_id, message_id, report) for message_id in message_ids]
        self._db.executemany("INSERT INTO reports (order_id, message_id, content) VALUES (?, ?, ?)", rows)

    def _release(self, order_id: str) -> None:
        """Give every report that has none a turn: the newest first, then those held back, oldest first."""
        held = self._db.execute(
            "SELECT id FROM reports WHERE order_id = ? AND turn IS NULL ORDER BY id",
            (order_id,),
        )
        *late, newest = (report_id for (report_id,) in held)
        for report_id in (newest, *late):
            self._db.execute(
                "UPDATE reports SET turn = (SELECT coalesce(max(turn), 0) + 1 FROM reports) WHERE id = ?",
                (report_id,),
            )


def _message_ids(behaviour: Behaviour) -> list[str]:
    first, other = (uuid.uuid4().hex for _ in range(2))
    return [first, first, other] if behaviour.repeats_reports else [first]


def _now() -> str:
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")
