"""One fault after the other on one deployment: load, fault, rest, verdict."""

import asyncio
import contextlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.faults.faults import Fault, Unmoved
from tests.faults.fleet import Fleet, Place
from tests.faults.load import under_load
from tests.faults.oracles import Evidence, Verdicts, is_settled, judge
from tests.support.postgres import ThrowawayPostgres

BEFORE_SECONDS, AFTER_SECONDS = 0.5, 0.5
SETTLED_WITHIN_SECONDS = 90


@dataclass(frozen=True)
class Outcome:
    """What one fault did."""

    fault: str
    times: int
    requests: int
    orders: int
    seconds: float
    verdicts: Verdicts
    reaction: str | None = None
    """What the deployment did wrong while the fault lasted."""

    @property
    def complaints(self) -> list[str]:
        said = [f"{name}: {word}" for name, words in self.verdicts.items() for word in words]
        said += [self.reaction] if self.reaction else []
        return [f"{self.fault}: {word}" for word in said]


async def undergo(fleet: Fleet, fault: Fault, settled_within: float = SETTLED_WITHIN_SECONDS) -> Outcome:
    """Inject a fault under load, let the deployment come to rest, and judge it."""
    began, ledger = time.monotonic(), fleet.ledger
    requests, orders = ledger.requests, len(ledger.order_ids)
    times, reaction = 0, None
    async with under_load(fleet.urls, fleet.tenant, ledger, fault.drugs):
        await asyncio.sleep(BEFORE_SECONDS)
        try:
            times = await fault.inject(fleet)
            reaction = None if times else "the fault never struck"
        except (Unmoved, TimeoutError) as failure:
            reaction = str(failure) or "the fault never struck"
        await asyncio.sleep(AFTER_SECONDS)
    await _settle(fleet, settled_within)
    verdicts = judge(await Evidence.of(fleet))
    seconds = time.monotonic() - began
    return Outcome(
        fault.name, times, ledger.requests - requests, len(ledger.order_ids) - orders, seconds, verdicts, reaction
    )


async def _settle(fleet: Fleet, seconds: float) -> None:
    """Until nothing is left to be done; the oracles complain about what is left after so many seconds."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while not await fleet.database.read(is_settled) or await _has_unsent_reports(fleet):
                await asyncio.sleep(0.1)


async def _has_unsent_reports(fleet: Fleet) -> bool:
    return any(entry["unsentReports"] for entry in (await fleet.book()).values())


@contextmanager
def place(kind: str, folder: Path, disk: Path | None = None) -> Iterator[Place]:
    """Somewhere to run on a database of this kind, below `folder`; data lies on `disk` if one is given."""
    data, logs = disk or folder / "data", folder / "logs"
    logs.mkdir(parents=True)
    if kind == "sqlite":
        yield Place(f"sqlite:///{data}/case-orders.db", data, logs)
        return
    with ThrowawayPostgres(durable=True, folder=disk) as server:
        yield Place(server.create_database(), data, logs, server)
