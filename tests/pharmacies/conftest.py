"""A sandbox pharmacy and a service that receives its reports, both real servers on loopback."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from case_orders.edge.contract import component
from case_orders.outbound import Outbound, Reply
from case_orders.pharmacies.http import HttpPharmacy
from case_orders.pharmacies.sandbox.server import make_app
from case_orders.pharmacies.signing import verify_report
from case_orders.signing_secrets import new_secret
from tests.support.web import listening

REQUEST_SECRET, REPORT_SECRET = new_secret(), new_secret()
PACE = 0.01


class Service:
    """Takes reports as the service does; refuses the first `failures` of them."""

    def __init__(self) -> None:
        self.url = ""
        self.failures = 0
        self.attempts: list[str] = []
        self.reports: list[dict[str, Any]] = []
        self.message_ids: list[str] = []
        self.news = asyncio.Condition()

    async def receive(self, request: web.Request) -> web.Response:
        body = await request.read()
        assert verify_report(REPORT_SECRET, request.headers, body)
        message_id = request.headers["webhook-id"]
        self.attempts.append(message_id)
        if len(self.attempts) <= self.failures:
            return web.Response(status=503)
        report = json.loads(body)
        assert component("PharmacyReport").problems(report) == []
        async with self.news:
            self.reports.append(report)
            self.message_ids.append(message_id)
            self.news.notify_all()
        return web.Response(status=202)

    @property
    def states(self) -> list[str]:
        return [report["status"] for report in self.reports if "status" in report]

    async def until(self, number_of_reports: int) -> None:
        async with asyncio.timeout(5), self.news:
            await self.news.wait_for(lambda: len(self.reports) >= number_of_reports)


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    service = Service()
    app = web.Application()
    app.add_routes([web.post("/events", service.receive)])
    async with listening(app) as url:
        service.url = f"{url}/events"
        yield service


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(trust_env=False) as session:
        yield session


@pytest.fixture
async def outbound() -> AsyncIterator[Outbound]:
    async with Outbound(("127.0.0.0/8",)) as outbound:
        yield outbound


@pytest.fixture
def pace() -> float:
    """Seconds between two states of the sandbox; overridden where a test must act in between."""
    return PACE


@pytest.fixture
async def sandbox(tmp_path: Path, pace: float) -> AsyncIterator[str]:
    async with listening(make_app(REQUEST_SECRET, REPORT_SECRET, tmp_path, pace)) as url:
        yield url


@pytest.fixture
def pharmacy(sandbox: str, outbound: Outbound) -> HttpPharmacy:
    return HttpPharmacy(sandbox, REQUEST_SECRET, outbound)


async def book_of(pharmacy: HttpPharmacy) -> Mapping[str, Any]:
    """What the sandbox says of all its orders."""
    answer = await get(pharmacy, f"{pharmacy.base_url}/sandbox/orders")
    orders: Mapping[str, Any] = json.loads(answer.body)["orders"]
    return orders


async def get(pharmacy: HttpPharmacy, url: str, headers: Mapping[str, str] | None = None) -> Reply:
    """What lies at `url`, asked for with the pharmacy's own client."""
    return await pharmacy.outbound.request("GET", url, headers=headers, total=5, max_bytes=2**20)


async def looked_up_as(pharmacy: HttpPharmacy, order_id: str, status: str) -> dict[str, Any]:
    """The order's lookup, as soon as it shows `status`."""
    async with asyncio.timeout(5):
        while True:
            report = await pharmacy.look_up(order_id)
            if report is not None and report.get("status") == status:
                return report
            await asyncio.sleep(PACE)
