"""What the demonstration shows while it runs: each order's way, and each webhook as it arrives."""

from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table

from case_orders.demo.client import DemoFailed

_ENDS_BADLY = {"REJECTED", "CANCELED", "FAILED"}


class View:
    """A rich renderable of all that is known so far."""

    def __init__(self) -> None:
        self.orders: dict[str, dict[str, Any]] = {}
        self._labels: dict[str, str] = {}
        self._messages: dict[str, dict[str, Any]] = {}

    def add_order(self, order_id: str, label: str) -> None:
        self.orders[order_id], self._labels[order_id] = {"statusHistory": []}, label

    def update_order(self, order: dict[str, Any]) -> None:
        self.orders[order["id"]] = order

    def add_message(self, message: dict[str, Any]) -> None:
        """A message that the receiver got; a repetition has the same id."""
        self._messages[message["id"]] = message

    def is_complete(self) -> bool:
        """Whether each order is completed, documented, and announced without a gap."""
        return all(
            order.get("status") == "COMPLETED"
            and order.get("documentStatus") == "STORED"
            and self._is_announced(order_id, order)
            for order_id, order in self.orders.items()
        )

    def _is_announced(self, order_id: str, order: dict[str, Any]) -> bool:
        """ORDER_CREATED, a change for each later state, the tracking and the document: numbered from 1 on."""
        expected = len(order["statusHistory"]) + ("trackingNumber" in order) + 1
        return self._sequences(order_id) == list(range(1, expected + 1))

    def _sequences(self, order_id: str) -> list[int]:
        events = [m["event"] for m in self._messages.values() if m["event"]["data"].get("orderId") == order_id]
        return sorted(event["sequence"] for event in events)

    def require_no_failure(self) -> None:
        for order in self.orders.values():
            if order.get("status") in _ENDS_BADLY or order.get("documentStatus") == "FAILED":
                raise DemoFailed(f"an order ended as {order['status']}, its documents {order['documentStatus']}")
        for message in self._messages.values():
            if not all(message["verified"].values()):
                raise DemoFailed("a webhook's signature could not be verified")

    def waiting_for(self) -> str:
        """What is still missing, for the reason of a failure."""
        states = ", ".join(str(order.get("status", "unknown")) for order in self.orders.values())
        return f"both orders to be completed, documented and announced (they are: {states})"

    def __rich__(self) -> RenderableType:
        return Group(self._orders_table(), self._messages_table())

    def _orders_table(self) -> Table:
        table = Table(title="Orders", title_justify="left", expand=True)
        table.add_column("placed at", no_wrap=True)
        table.add_column("order", no_wrap=True)
        table.add_column("states", ratio=1)
        table.add_column("document", no_wrap=True)
        for order_id, order in self.orders.items():
            states = " → ".join(change["status"] for change in order["statusHistory"])
            table.add_row(self._labels[order_id], f"…{order_id[-12:]}", states, order.get("documentStatus", ""))
        return table

    def _messages_table(self) -> Table:
        table = Table(title="Webhooks received", title_justify="left", expand=True)
        for column in ("order", "sequence", "type", "status", "signatures"):
            table.add_column(column, no_wrap=True)
        for message in self._messages.values():
            event = message["event"]
            table.add_row(
                f"…{event['data']['orderId'][-12:]}",
                str(event["sequence"]),
                event["type"],
                event["data"]["status"],
                "verified" if all(message["verified"].values()) else "[red]wrong[/]",
            )
        return table
