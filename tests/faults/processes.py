"""What is done to processes: they are killed, stopped and asked to end."""

import asyncio
import json
import random
import signal
from dataclasses import dataclass

from sqlmodel import Session, col, select

from case_orders.db import new_id
from models import Job
from tests.faults import front
from tests.faults.faults import Injection, Unmoved, until
from tests.faults.fleet import LEASE_SECONDS, Fleet, send_signal
from tests.reliability.deployment import Program
from tests.support.needles import placement
from tests.support.world import Tenant


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


async def api_killed_at_an_answer(fleet: Fleet) -> int:
    """The only API is killed as soon as an order was acknowledged."""
    (api,) = fleet.apis
    before = len(fleet.ledger.order_ids)
    await until(lambda: len(fleet.ledger.order_ids) > before)
    await api.kill()
    await fleet.start([api])
    return 1


async def worker_stopped_past_its_lease(fleet: Fleet) -> int:
    """It is stopped in the middle of calls to the pharmacy, and goes on when another one has its jobs."""
    worker, other = fleet.workers
    await other.stop()
    lost = _count_of_leases_lost(worker)
    async with fleet.front.harmed_by(front.Fault("/orders", front.hang)):
        await until(lambda: fleet.front.hits > 2)
        send_signal(worker, signal.SIGSTOP)
    await other.start()
    await asyncio.sleep(LEASE_SECONDS + 2)
    send_signal(worker, signal.SIGCONT)
    await until(lambda: _count_of_leases_lost(worker) > lost)
    return 1


def _count_of_leases_lost(worker: Program) -> int:
    return worker.log.read_bytes().count(b'"lease lost"')


async def apis_terminated(fleet: Fleet) -> int:
    """A request under way is answered, no new one is taken, and the process ends well."""
    for program, url in zip(fleet.apis, fleet.urls, strict=True):
        request = await HalfSent.to(url, fleet.tenant)
        send_signal(program, signal.SIGTERM)
        await _until_refused(url)
        order_id = await request.finish()
        fleet.ledger.placed[request.key].add(order_id)
        await _require_good_end(program)
        await program.start()
    await fleet.ready()
    return len(fleet.apis)


@dataclass(frozen=True)
class HalfSent:
    """A placement of which a part of the body is still to be sent."""

    key: str
    rest: bytes
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    @classmethod
    async def to(cls, url: str, tenant: Tenant) -> "HalfSent":
        body, key = json.dumps(placement()).encode(), new_id()
        head = (
            f"POST /api/v1/cases/{tenant.case_id} HTTP/1.1",
            "Host: localhost",
            f"cv-api-key: {tenant.key}",
            f"Idempotency-Key: {key}",
            "Content-Type: application/json",
            f"Content-Length: {len(body)}",
        )
        reader, writer = await asyncio.open_connection(*_address(url))
        writer.write("\r\n".join((*head, "", "")).encode() + body[:100])
        await asyncio.sleep(0.2)
        return cls(key, body[100:], reader, writer)

    async def finish(self) -> str:
        """Send the rest; the id of the order."""
        self.writer.write(self.rest)
        head = (await self.reader.readuntil(b"\r\n\r\n")).lower()
        if not head.startswith(b"http/1.1 200"):
            raise Unmoved("a request under way was not answered")
        length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0])
        order_id: str = json.loads(await self.reader.readexactly(length))["data"]["order"]["id"]
        self.writer.close()
        return order_id


async def workers_terminated(fleet: Fleet) -> int:
    """Whatever they had under way is given back at once."""
    async with fleet.front.harmed_by(front.Fault("/orders", front.hang)):
        await until(lambda: fleet.front.hits > 0)
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


async def _until_refused(url: str) -> None:
    async with asyncio.timeout(5):
        while True:
            try:
                _, writer = await asyncio.open_connection(*_address(url))
            except ConnectionRefusedError:
                return
            writer.close()
            await asyncio.sleep(0.02)


def _address(url: str) -> tuple[str, int]:
    host, _, port = url.removeprefix("http://").partition(":")
    return host, int(port)
