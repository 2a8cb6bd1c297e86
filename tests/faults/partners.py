"""What pharmacies and receivers do."""

import asyncio
import json
import random
import time
from datetime import timedelta

import httpx2
from sqlmodel import select

from case_orders.db import new_id, now
from case_orders.edge.answers import rfc3339
from case_orders.pharmacies.signing import sign_report
from case_orders.signing_secrets import new_secret
from models import Delivery
from tests.faults import front
from tests.faults.faults import SECONDS, Injection, Unmoved, until
from tests.faults.fleet import LEASE_SECONDS, Fleet
from tests.faults.front import Harm
from tests.faults.load import Client

LONGEST_UNDER_WAY = timedelta(seconds=30)
"""How long a message may have been under way when its receiver goes."""


def pharmacy(path: str, meet: Harm, seconds: float = SECONDS) -> Injection:
    """Requests to `path` come to harm."""

    async def inject(fleet: Fleet) -> int:
        async with fleet.front.harmed_by(front.Fault(path, meet)):
            await asyncio.sleep(seconds)
            await until(lambda: fleet.front.hits > 0)
        return fleet.front.hits

    return inject


async def forged_reports(fleet: Fleet) -> int:
    """Somebody who has no secret says of the latest orders that they are canceled."""
    times = 0
    async with httpx2.AsyncClient(trust_env=False) as forger, asyncio.timeout(30):
        while times < 20:
            for order_id in list(fleet.ledger.drugs)[-5:]:
                await _forge_report(fleet, forger, order_id)
                times += 1
            await asyncio.sleep(0.2)
    return times


async def _forge_report(fleet: Fleet, forger: httpx2.AsyncClient, order_id: str) -> None:
    body = json.dumps({"orderId": order_id, "occurredAt": rfc3339(now()), "status": "CANCELED"}).encode()
    headers = sign_report(new_secret(), body) | {"Content-Type": "application/json"}
    url = f"{fleet.urls[0]}/api/v1/pharmacy-connections/{fleet.tenant.pharmacy_id}/events"
    if (await forger.post(url, content=body, headers=headers)).status_code != 401:
        raise Unmoved("a forged report was not refused")


async def ordered(fleet: Fleet) -> int:
    """What the sandbox does to orders of the fault's drugs."""
    before = len(fleet.ledger.drugs)
    await asyncio.sleep(SECONDS)
    return len(fleet.ledger.drugs) - before


def receiver_behaves(status: int = 204, delay: float = 0) -> Injection:
    async def inject(fleet: Fleet) -> int:
        receiver = fleet.receivers[1]
        before, receiver.status, receiver.delay = receiver.hits, status, delay
        try:
            await asyncio.sleep(SECONDS)
            await until(lambda: receiver.hits > before)
        finally:
            receiver.status, receiver.delay = 204, 0
        return receiver.hits - before

    return inject


async def receiver_slow_while_asked_again(fleet: Fleet) -> int:
    """A message that is under way is asked for once more: the end of the first attempt must not be that of both."""
    receiver, times = fleet.receivers[1], 0
    client = Client(fleet.urls, fleet.tenant, fleet.ledger)
    receiver.delay = LEASE_SECONDS / 2
    try:
        async with client.http:
            while times < 4:
                await until(lambda: bool(receiver.waiting))
                await _ask_again(fleet, client, random.choice(sorted(receiver.waiting)))
                times += 1
                await asyncio.sleep(0.5)
    finally:
        receiver.delay = 0
    return times


async def _ask_again(fleet: Fleet, client: Client, event_id: str) -> None:
    receiver = fleet.receivers[1]
    which = select(Delivery.id).where(Delivery.webhook_id == receiver.webhook_id, Delivery.event_id == event_id)
    delivery_id = await fleet.database.read(lambda session: session.exec(which).one())
    asked_at = time.monotonic()
    path = f"/webhooks/{receiver.webhook_id}/deliveries/{delivery_id}/redeliver"
    await client.ask("POST", path, (202,), key=new_id())
    fleet.ledger.redelivered.append((receiver.name, event_id, asked_at))


async def receiver_gone(fleet: Fleet) -> int:
    """An endpoint that answers 410 is not called again; it asks to be told of things anew afterwards."""
    receiver, began = fleet.receivers[1], now() - LONGEST_UNDER_WAY
    times = await receiver_behaves(status=410)(fleet)
    before = receiver.hits
    receiver.status = 410
    await asyncio.sleep(1)
    receiver.status = 204
    if receiver.hits > before:
        raise Unmoved("an endpoint that is gone was called again")
    await fleet.subscribe(receiver)
    receiver.gone = began, now()
    return times
