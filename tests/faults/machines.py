"""What is done to what lies below: to the database server, the disk and the clock."""

import asyncio
from pathlib import Path

from tests.faults.faults import SECONDS, Injection, until
from tests.faults.fleet import Fleet


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
        await until(lambda: fleet.ledger.unanswered["503"] > before + 3, seconds=60)
    finally:
        ballast.unlink()
    if server is not None:
        await asyncio.to_thread(server.recover)
    return fleet.ledger.unanswered["503"] - before


def _fill(path: Path) -> None:
    block = bytes(64 * 1024)
    with path.open("wb", buffering=0) as file:
        while True:
            try:
                file.write(block)
            except OSError:
                return


def clock_moved(by: str, *, back_again: bool = False) -> Injection:
    """That of all processes of the service and the pharmacy, which were started with `machine.moved_clock`."""

    async def inject(fleet: Fleet) -> int:
        clock = fleet.place.logs / "clock"
        clock.write_text(f"{by}\n")
        await asyncio.sleep(SECONDS)
        if back_again:
            clock.write_text("+0\n")
        return 1

    return inject
