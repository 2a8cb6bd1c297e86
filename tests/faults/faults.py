"""The faults: what is done to a deployment under load, and how often it was done."""

import asyncio
import json
import random
import signal
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
from sqlmodel import Session, col, select

from case_orders.db import new_id, now
from case_orders.edge.answers import rfc3339
from case_orders.pharmacies.signing import sign_report
from case_orders.signing_secrets import new_secret
from models import Delivery, Job
from tests.faults import front
from tests.faults.fleet import LEASE_SECONDS, Fleet, send_signal
from tests.faults.load import DRUGS, Client
from tests.reliability.deployment import Program
from tests.support.needles import placement

SECONDS = 4
"""How long a fault lasts that has no length of its own."""

Injection = Callable[[Fleet], Awaitable[int]]


@dataclass(frozen=True)
class Fault:
    """`inject` returns how often it struck, which must not be never; `drugs` are what is ordered meanwhile."""

    name: str
    inject: Injection
    drugs: Sequence[str] = DRUGS


class Unmoved(AssertionError):
    """The deployment did not do under a fault what it should."""


def together(*injections: Injection) -> Injection:
    """Several at once."""

    async def inject(fleet: Fleet) -> int:
        return sum(await asyncio.gather(*(injection(fleet) for injection in injections)))

    return inject


async def nothing(fleet: Fleet) -> int:
    await asyncio.sleep(SECONDS)
    return 1


# ---- processes ---------------------------------------------------------------------------------------------------


def killed(*kinds: str, seconds: float = 6) -> Injection:
    """One process of each kind at a time, killed and started again, every 0.7 to 1.3 seconds."""

    async def inject(fleet: Fleet) -> int:
        loop = asyncio.get_running_loop()
        ends, times = loop.time() + seconds, 0
        while loop.time() < ends:
            await asyncio.sleep(random.uniform(0.7, 1.3))
            for kind in kinds:
                victim = random.choice(fleet.apis if kind == "api" else fleet.workers)
                await victim.kill()
                await victim.start()
                times += 1
        await fleet.ready()
        return times

    return inject


async def worker_stopped_past_its_lease(fleet: Fleet) -> int:
    """It is stopped in the middle of calls to the pharmacy, and goes on when others have its jobs."""
    worker = fleet.workers[0]
    before = worker.log.read_text().count("lease lost")
    async with fleet.front.harmed_by(front.Fault("/orders", front.hang)):
        await _until(lambda: fleet.front.hits > 0)
        await asyncio.sleep(1)
        send_signal(worker, signal.SIGSTOP)
    await asyncio.sleep(LEASE_SECONDS + 2)
    send_signal(worker, signal.SIGCONT)
    await asyncio.sleep(1)
    if worker.log.read_text().count("lease lost") == before:
        raise Unmoved("the stopped worker noticed nothing")
    return 1


async def api_terminated(fleet: Fleet) -> int:
    """A request under way is answered, no new one is taken, and the process ends well."""
    for program, url in zip(fleet.apis, fleet.urls, strict=True):
        host, port = url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        body = json.dumps(placement()).encode()
        key = new_id()
        head = f"POST /api/v1/cases/{fleet.tenant.case_id} HTTP/1.1\r\nHost: {host}:{port}\r\n"
        head += f"cv-api-key: {fleet.tenant.key}\r\nIdempotency-Key: {key}\r\n"
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body[:100])
        await asyncio.sleep(0.2)
        send_signal(program, signal.SIGTERM)
        await _until_refused(host, int(port))
        writer.write(body[100:])
        answer = await reader.readuntil(b"\r\n\r\n")
        if not answer.startswith(b"HTTP/1.1 200"):
            raise Unmoved("a request under way was not answered")
        length = next(int(line[15:]) for line in answer.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        order = json.loads(await reader.readexactly(length))["data"]["order"]
        fleet.ledger.placed[key].add(order["id"])
        writer.close()
        await _require_good_end(program)
        await program.start()
    await fleet.ready()
    return len(fleet.apis)


async def workers_terminated(fleet: Fleet) -> int:
    """Whatever they had under way is given back at once."""
    async with fleet.front.harmed_by(front.Fault("/orders", front.hang)):
        await _until(lambda: fleet.front.hits > 0)
        for worker in fleet.workers:
            send_signal(worker, signal.SIGTERM)
        for worker in fleet.workers:
            await _require_good_end(worker)
        leased = await fleet.database.read(_leased)
    for worker in fleet.workers:
        await worker.start()
    if leased:
        raise Unmoved("a worker that ended kept a job")
    return len(fleet.workers)


def _leased(session: Session) -> int:
    return len(session.exec(select(Job.id).where(col(Job.leased_until).is_not(None))).all())


async def _require_good_end(program: Program) -> None:
    assert program.process is not None
    async with asyncio.timeout(15):
        if await program.process.wait() != 0:
            raise Unmoved("a process that was asked to end failed")


async def _until_refused(host: str, port: int) -> None:
    async with asyncio.timeout(5):
        while True:
            try:
                _, writer = await asyncio.open_connection(host, port)
            except ConnectionRefusedError:
                return
            writer.close()
            await asyncio.sleep(0.02)


async def _until(happened: Callable[[], bool], seconds: float = 20) -> None:
    async with asyncio.timeout(seconds):
        while not happened():
            await asyncio.sleep(0.02)


# ---- database, disk, clock ---------------------------------------------------------------------------------------


async def database_killed(fleet: Fleet) -> int:
    assert fleet.place.server is not None
    for _ in range(2):
        await asyncio.to_thread(fleet.place.server.kill)
        await asyncio.sleep(0.7)
        await asyncio.to_thread(fleet.place.server.start)
        await asyncio.sleep(1.5)
    return 2


async def database_paused(fleet: Fleet) -> int:
    assert fleet.place.server is not None
    fleet.place.server.pause()
    try:
        await asyncio.sleep(20)
    finally:
        fleet.place.server.resume()
    return 1


async def disk_full(fleet: Fleet) -> int:
    """Under database and documents, until a client has been told so."""
    ballast, server = fleet.place.data / "ballast", fleet.place.server
    before = fleet.ledger.unanswered["503"]
    await asyncio.to_thread(_fill, ballast)
    try:
        await _until(lambda: fleet.ledger.unanswered["503"] > before + 3, seconds=60)
    finally:
        ballast.unlink()
    if server is not None:
        await asyncio.to_thread(server.start_if_dead)
    return fleet.ledger.unanswered["503"] - before


def _fill(path: Path) -> None:
    block = bytes(64 * 1024)
    with path.open("wb", buffering=0) as file:
        while True:
            try:
                file.write(block)
            except OSError:
                return


def clock_moved(by: str) -> Injection:
    """Of all processes of the service and the pharmacy, which were started with `machine.moved_clock`."""

    async def inject(fleet: Fleet) -> int:
        (fleet.place.logs / "clock").write_text(f"{by}\n")
        await asyncio.sleep(SECONDS)
        return 1

    return inject


# ---- the pharmacy ------------------------------------------------------------------------------------------------


def pharmacy(path: str, meet: Any, seconds: float = SECONDS) -> Injection:
    """Requests to `path` come to harm."""

    async def inject(fleet: Fleet) -> int:
        before = fleet.front.hits
        async with fleet.front.harmed_by(front.Fault(path, meet)):
            await asyncio.sleep(seconds)
            await _until(lambda: fleet.front.hits > before)
        return fleet.front.hits - before

    return inject


async def forged_reports(fleet: Fleet) -> int:
    """Somebody who has no secret says of orders that they are canceled."""
    times = 0
    async with httpx2.AsyncClient(trust_env=False) as client, asyncio.timeout(30):
        while times < 20:
            for order_id in list(fleet.ledger.order_ids)[-5:]:
                report = {"orderId": order_id, "occurredAt": rfc3339(now()), "status": "CANCELED"}
                body = json.dumps(report).encode()
                headers = sign_report(new_secret(), body) | {"Content-Type": "application/json"}
                url = f"{fleet.urls[0]}/api/v1/pharmacy-connections/{fleet.tenant.pharmacy_id}/events"
                if (await client.post(url, content=body, headers=headers)).status_code != 401:
                    raise Unmoved("a forged report was not refused")
                times += 1
            await asyncio.sleep(0.2)
    return times


async def ordered(fleet: Fleet) -> int:
    """What the sandbox does to orders of the fault's drugs."""
    before = len(fleet.ledger.drugs)
    await asyncio.sleep(SECONDS)
    return len(fleet.ledger.drugs) - before


# ---- receivers ---------------------------------------------------------------------------------------------------


def receiver_behaves(status: int = 204, delay: float = 0) -> Injection:
    async def inject(fleet: Fleet) -> int:
        receiver = fleet.receivers[1]
        before, receiver.status, receiver.delay = receiver.hits, status, delay
        await asyncio.sleep(SECONDS)
        await _until(lambda: receiver.hits > before)
        receiver.status, receiver.delay = 204, 0
        return receiver.hits - before

    return inject


async def receiver_slow_while_asked_again(fleet: Fleet) -> int:
    """A message that is under way is asked for once more: the end of the first attempt must not be that of both."""
    receiver, times = fleet.receivers[1], 0
    client = Client(fleet.urls, fleet.tenant, fleet.ledger)
    receiver.delay = LEASE_SECONDS / 2
    async with client.http:
        while times < 4:
            await _until(lambda: bool(receiver.waiting))
            event_id = random.choice(sorted(receiver.waiting))
            times += await _redelivered(fleet, client, event_id)
            await asyncio.sleep(0.5)
    receiver.delay = 0
    return times


async def _redelivered(fleet: Fleet, client: Client, event_id: str) -> int:
    receiver = fleet.receivers[1]
    which = select(Delivery.id).where(Delivery.webhook_id == receiver.webhook_id, Delivery.event_id == event_id)
    delivery_id = await fleet.database.read(lambda session: session.exec(which).one())
    asked_at = asyncio.get_running_loop().time()
    path = f"/webhooks/{receiver.webhook_id}/deliveries/{delivery_id}/redeliver"
    await client.ask("POST", path, (202,), key=new_id())
    fleet.ledger.redelivered.append((receiver.name, event_id, asked_at))
    return 1


async def receiver_gone(fleet: Fleet) -> int:
    """An endpoint that answers 410 is not called again; it asks to be told of things anew afterwards."""
    times = await receiver_behaves(status=410)(fleet)
    receiver = fleet.receivers[1]
    before = receiver.hits
    receiver.status = 410
    await asyncio.sleep(1)
    receiver.status = 204
    if receiver.hits > before:
        raise Unmoved("an endpoint that is gone was called again")
    await fleet.subscribe(receiver)
    return times


MATRIX = (
    Fault("nothing", nothing),
    Fault("API killed -9", killed("api")),
    Fault("worker killed -9", killed("worker")),
    Fault("API and worker killed -9", killed("api", "worker")),
    Fault("worker stopped past its lease", worker_stopped_past_its_lease),
    Fault("APIs terminated", api_terminated),
    Fault("workers terminated", workers_terminated),
    Fault("pharmacy hangs", pharmacy("/orders", front.hang, LEASE_SECONDS + 1)),
    Fault("pharmacy resets", pharmacy("/orders", front.reset)),
    Fault("pharmacy cuts its answer", pharmacy("/orders", front.cut_off)),
    Fault("pharmacy answers garbage", pharmacy("/orders", front.garbage)),
    Fault("pharmacy answers 500", pharmacy("/orders", front.broken)),
    Fault("pharmacy answers 429", pharmacy("/orders", front.busy)),
    Fault("pharmacy answers too late", pharmacy("/orders", front.late, LEASE_SECONDS + 1)),
    Fault("pharmacy reports twice", ordered, ("drug-duplicate-reports",)),
    Fault("pharmacy reports out of order", ordered, ("drug-out-of-order",)),
    Fault("pharmacy reports nothing", ordered, ("drug-silent",)),
    Fault("reports are forged", forged_reports),
    Fault("document is a gzip bomb", pharmacy("/documents", front.gzip_bomb)),
    Fault("document is endless", pharmacy("/documents", front.endless)),
    Fault("document is cut short", pharmacy("/documents", front.truncated)),
    Fault("document is of another type", pharmacy("/documents", front.other_type)),
    Fault("document has another checksum", pharmacy("/documents", front.other_bytes)),
    Fault("document redirects inward", pharmacy("/documents", front.redirect_inward)),
    Fault("receiver is slow, and asked again", receiver_slow_while_asked_again),
    Fault("receiver hangs", receiver_behaves(delay=LEASE_SECONDS + 2)),
    Fault("receiver answers 500", receiver_behaves(status=500)),
    Fault("receiver redirects", receiver_behaves(status=302)),
    Fault("receiver answers 410", receiver_gone),
)
ON_A_SERVER = (
    Fault("PostgreSQL killed -9", database_killed),
    Fault("PostgreSQL paused for 20 s", database_paused),
)
ON_A_SMALL_DISK = (Fault("disk full", disk_full),)
UNDER_ANOTHER_CLOCK = (
    Fault("clock 2 days back", clock_moved("-2d")),
    Fault("clock right again", clock_moved("+0")),
    Fault("clock 3 h ahead", clock_moved("+3h")),
)
