import asyncio
import contextlib
import signal
import sqlite3
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from case_orders.edge.server import free_port
from case_orders.outbound import Outbound
from case_orders.pharmacies.http import HttpPharmacy
from case_orders.pharmacies.protocol import Accepted, PharmacyUnavailable, Undecided
from case_orders.pharmacies.sandbox.book import OrderBook
from case_orders.pharmacies.sandbox.server import make_app
from tests.pharmacies.conftest import (
    PACE,
    REPORT_SECRET,
    REQUEST_SECRET,
    Service,
    book_of,
    looked_up_as,
)
from tests.pharmacies.orders import order
from tests.support.web import listening

STANDSTILL = 3600.0
SERVE = """
import asyncio, sys
from pathlib import Path
from case_orders.pharmacies.sandbox.server import serve
port, request_secret, report_secret, data_dir, pace = sys.argv[1:]
asyncio.run(serve("127.0.0.1", int(port), request_secret, report_secret, Path(data_dir), float(pace)))
"""


@asynccontextmanager
async def sandbox(data_dir: Path, outbound: Outbound, pace: float) -> AsyncIterator[HttpPharmacy]:
    async with listening(make_app(REQUEST_SECRET, REPORT_SECRET, data_dir, pace)) as url:
        yield HttpPharmacy(url, REQUEST_SECRET, outbound)


async def test_a_restarted_pharmacy_goes_on_where_it_was(tmp_path: Path, outbound: Outbound, service: Service) -> None:
    placed = order(callback_url=service.url)
    async with sandbox(tmp_path, outbound, 0.3) as pharmacy:
        await pharmacy.submit(placed)
        await service.until(1)
    before = len(service.reports)
    async with sandbox(tmp_path, outbound, PACE) as pharmacy:
        assert await pharmacy.submit(placed) == Accepted("RX-000001")
        await looked_up_as(pharmacy, placed["orderId"], "COMPLETED")
        await service.until(5)
        assert before < 5
        assert service.states == [
            "ACKNOWLEDGED",
            "FILLING",
            "READY",
            "SHIPPED",
            "COMPLETED",
        ]
        assert (await book_of(pharmacy))[placed["orderId"]]["fills"] == 1


async def test_reports_that_nobody_took_are_sent_after_a_restart(
    tmp_path: Path, outbound: Outbound, service: Service
) -> None:
    service.failures = 10**6
    placed = order("drug-skip", callback_url=service.url)
    async with sandbox(tmp_path, outbound, PACE) as pharmacy:
        await pharmacy.submit(placed)
        await looked_up_as(pharmacy, placed["orderId"], "COMPLETED")
    service.failures = 0
    async with sandbox(tmp_path, outbound, STANDSTILL):
        await service.until(3)
    assert service.states == ["ACKNOWLEDGED", "SHIPPED", "COMPLETED"]
    assert service.attempts[0] == service.message_ids[0]


async def test_a_cancel_that_was_waiting_is_decided_after_a_restart(
    tmp_path: Path, outbound: Outbound, service: Service
) -> None:
    placed = order("drug-slow-cancel", callback_url=service.url)
    async with sandbox(tmp_path, outbound, STANDSTILL) as pharmacy:
        await pharmacy.submit(placed)
        assert await pharmacy.cancel(placed["orderId"], "1") == Undecided()
    async with sandbox(tmp_path, outbound, PACE):
        await service.until(1)
    assert service.states == ["CANCELED"]


@asynccontextmanager
async def sandbox_process(data_dir: Path, port: int) -> AsyncIterator[None]:
    arguments = (str(port), REQUEST_SECRET, REPORT_SECRET, str(data_dir), str(PACE))
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", SERVE, *arguments)
    try:
        yield
    finally:
        process.send_signal(signal.SIGKILL)
        await process.wait()


async def submitted(pharmacy: HttpPharmacy, placed: dict[str, object]) -> None:
    """Submit as soon as the process listens."""
    async with asyncio.timeout(20):
        while True:
            try:
                await pharmacy.submit(placed)
            except PharmacyUnavailable:
                await asyncio.sleep(0.02)
            else:
                return


@pytest.fixture
def port() -> int:
    return free_port()


async def test_a_killed_pharmacy_fills_nothing_twice_and_forgets_nothing(
    tmp_path: Path, outbound: Outbound, service: Service, port: int
) -> None:
    pharmacy = HttpPharmacy(f"http://127.0.0.1:{port}", REQUEST_SECRET, outbound)
    orders = [order("drug-hold", callback_url=service.url) for _ in range(5)]
    async with sandbox_process(tmp_path, port):
        for placed in orders:
            await submitted(pharmacy, placed)
        await service.until(7)
    async with sandbox_process(tmp_path, port):
        for placed in orders:
            await submitted(pharmacy, placed)
        for placed in orders:
            await looked_up_as(pharmacy, placed["orderId"], "COMPLETED")
        fills = [entry["fills"] for entry in (await book_of(pharmacy)).values()]
        async with asyncio.timeout(5), service.news:
            await service.news.wait_for(lambda: len(kinds(service.reports)) == 5 * 6)
    assert fills == [1] * 5


def kinds(reports: list[dict[str, object]]) -> set[tuple[object, object]]:
    return {(report["orderId"], report["status"]) for report in reports}


def test_two_pharmacies_cannot_share_a_book(tmp_path: Path) -> None:
    book = OrderBook(tmp_path / "orders.sqlite3")
    with contextlib.closing(book), pytest.raises(sqlite3.OperationalError):
        OrderBook(tmp_path / "orders.sqlite3")
