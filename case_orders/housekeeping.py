"""What is thrown away now and then, by every worker: to do it twice does no harm."""

import asyncio

import structlog

from case_orders import idempotency
from case_orders.db import Database
from case_orders.errors import describe

log = structlog.get_logger("case_orders.housekeeping")

EVERY_SECONDS = 3600


async def keep_house(database: Database, stop: asyncio.Event) -> None:
    """Clean up once an hour until `stop` is set."""
    while not stop.is_set():
        try:
            await database.write(idempotency.forget_old)
        except Exception as failure:  # the database is away: an hour later is soon enough
            log.error("cannot clean up", error=describe(failure))
        try:
            async with asyncio.timeout(EVERY_SECONDS):
                await stop.wait()
        except TimeoutError:
            continue
