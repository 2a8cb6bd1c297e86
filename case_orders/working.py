"""A worker as a process."""

import asyncio

import structlog
import uvloop

from case_orders import keyring, logs
from case_orders.housekeeping import keep_house
from case_orders.processes import stop_requested
from case_orders.settings import Settings
from case_orders.worker import open_worker

log = structlog.get_logger("case_orders.working")


def work(settings: Settings) -> int:
    """Work on jobs, and keep house, until told to stop."""
    logs.configure(settings.log_level)
    keyring.install_for(settings, make=False)
    return uvloop.run(_work(settings))


async def _work(settings: Settings) -> int:
    stop = await stop_requested()
    async with open_worker(settings) as worker:
        log.info("working")
        await asyncio.gather(worker.run(stop), keep_house(worker.database, settings, stop))
    return 0
