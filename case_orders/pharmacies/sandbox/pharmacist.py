"""Works through the order book: takes each order from state to state, decides cancels, hands out documents."""

import asyncio
import hashlib
from collections.abc import Coroutine
from typing import Any

import structlog

from case_orders.pharmacies.sandbox.behaviours import Cancels, Paper, Step
from case_orders.pharmacies.sandbox.book import SHIPPED_OR_FINAL, BookedOrder, OrderBook
from case_orders.pharmacies.sandbox.prescription import render
from case_orders.pharmacies.sandbox.reports import Reporter

NOT_A_PDF = b"The printer is out of paper.\n"

log = structlog.get_logger("case_orders.sandbox")


class Pharmacist:
    """One task per open order takes it through its steps, one per order with reports due sends them."""

    def __init__(self, book: OrderBook, reporter: Reporter, pace: float) -> None:
        self.book = book
        self.reporter = reporter
        self.pace = pace
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def resume(self) -> None:
        """Go on with everything that an earlier process left open."""
        for order_id in self.book.order_ids():
            self.begin(order_id)

    def begin(self, order_id: str) -> None:
        self._start(f"fill {order_id}", self._fill(order_id))
        self._send_reports(order_id)

    async def stop(self) -> None:
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def cancel(self, order: BookedOrder) -> dict[str, Any] | None:
        """The answer to a cancel request; None when it is decided later."""
        if order.status == "CANCELED":
            return {"granted": True}
        if order.status in SHIPPED_OR_FINAL:
            return {
                "granted": False,
                "reason": "The order has left the pharmacy or is ended",
            }
        match order.behaviour.cancels:
            case Cancels.DENIED:
                return {
                    "granted": False,
                    "reason": "The order is already being prepared",
                }
            case Cancels.DECIDED_LATER:
                self.book.postpone_cancel(order)
                return None
        self.book.grant_cancel(order)
        self._send_reports(order.id)
        return {"granted": True}

    async def document(self, order: BookedOrder) -> bytes:
        """The prescription as this pharmacy prints it, faults included; the same bytes every time."""
        if order.behaviour.paper is Paper.NOT_A_PDF:
            return NOT_A_PDF
        pdf = await asyncio.to_thread(render, order.content, order.reference)
        return pdf[: len(pdf) // 2] if order.behaviour.paper is Paper.TRUNCATED else pdf

    async def _fill(self, order_id: str) -> None:
        while step := self.book.order(order_id).next_step:
            await asyncio.sleep(step.paces * self.pace)
            news = await self._news(self.book.order(order_id), step)
            self._take(order_id, step, news)
            self._send_reports(order_id)

    def _take(self, order_id: str, step: Step, news: dict[str, Any]) -> None:
        order = self.book.order(order_id)
        if order.cancel_pending:
            self.book.grant_cancel(order)
        elif order.next_step == step:  # else it was canceled meanwhile
            self.book.advance(order, step, news)
            log.info("sandbox order", order=order_id, status=step.status)

    async def _news(self, order: BookedOrder, step: Step) -> dict[str, Any]:
        """What is reported beside the step's own fields: the prescription, with the first acknowledgement."""
        if step.status != "ACKNOWLEDGED" or order.behaviour.paper is Paper.NONE:
            return {}
        document = {
            "id": "prescription",
            "url": f"{order.origin}/documents/{order.id}/prescription",
            "fileName": f"{order.reference}.pdf",
        }
        match order.behaviour.paper:
            case Paper.TRUNCATED:
                pass  # without a checksum, only the missing end gives it away
            case Paper.WRONG_CHECKSUM:
                document["sha256"] = hashlib.sha256(b"another document").hexdigest()
            case _:
                document["sha256"] = hashlib.sha256(await self.document(order)).hexdigest()
        return {"documents": [document]}

    def _send_reports(self, order_id: str) -> None:
        self._start(f"report {order_id}", self.reporter.send_all(order_id))

    def _start(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        """Run `work` unless its like is running, which will come upon whatever is new."""
        running = self._tasks.get(name)
        if running is not None and not running.done():
            work.close()
            return
        self._tasks[name] = asyncio.create_task(work, name=name)
        self._tasks[name].add_done_callback(self._forget)

    def _forget(self, task: asyncio.Task[None]) -> None:
        if self._tasks.get(task.get_name()) is task:
            del self._tasks[task.get_name()]
