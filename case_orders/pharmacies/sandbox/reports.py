"""Sends an order's reports to the service, in their turn, each until it is taken."""

import asyncio
from dataclasses import dataclass

import aiohttp
import structlog

from case_orders.pharmacies.sandbox.book import DueReport, OrderBook
from case_orders.pharmacies.signing import sign_report

ATTEMPT_SECONDS = 10
LONGEST_WAIT_PACES = 64

log = structlog.get_logger("case_orders.sandbox")


@dataclass(frozen=True)
class Reporter:
    """The sending side of the order book."""

    book: OrderBook
    secret: str
    session: aiohttp.ClientSession
    pace: float

    async def send_all(self, order_id: str) -> None:
        """Send what is due of the order; after a failure wait 1, 2, 4 ... paces."""
        wait = 1
        while report := self.book.next_report(order_id):
            if await self._arrives(report):
                self.book.strike_report(report)
                wait = 1
            else:
                log.info("sandbox report not taken", order=order_id, paces_to_wait=wait)
                await asyncio.sleep(wait * self.pace)
                wait = min(2 * wait, LONGEST_WAIT_PACES)

    async def _arrives(self, report: DueReport) -> bool:
        headers = sign_report(self.secret, report.body, message_id=report.message_id)
        try:
            async with self.session.post(
                report.url,
                data=report.body,
                headers=headers | {"Content-Type": "application/json"},
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=ATTEMPT_SECONDS),
            ) as answer:
                return 200 <= answer.status < 300
        except (aiohttp.ClientError, OSError):  # TimeoutError is an OSError
            return False
