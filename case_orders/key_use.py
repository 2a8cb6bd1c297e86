"""When API keys were last used: noted in memory, and written down for all of them now and then.

A request only notes; so a note may be a minute late, and one is lost when the process is killed.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import datetime

import structlog
from sqlalchemy import or_, update
from sqlmodel import Session, col

from case_orders.db import Database, now
from case_orders.errors import describe
from models import ApiKey

log = structlog.get_logger("case_orders.key_use")

EVERY_SECONDS = 60


class KeyUse:
    """The keys that were used in this process since it last wrote them down."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._used: dict[str, datetime] = {}

    def note(self, key_id: str) -> None:
        self._used[key_id] = now()

    @asynccontextmanager
    async def kept(self) -> AsyncIterator[None]:
        """Within the block notes are written down once a minute, and at its end."""
        keeping = asyncio.create_task(self._keep())
        try:
            yield
        finally:
            keeping.cancel()
            await asyncio.gather(keeping, return_exceptions=True)
            await self.write()

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(EVERY_SECONDS)
            await self.write()

    async def write(self) -> None:
        """Write the notes down; if the database cannot take them they are dropped, the next ones say more."""
        used, self._used = self._used, {}
        if not used:
            return
        try:
            await self._database.write(lambda session: _write(session, used))
        except Exception as failure:
            log.error("cannot write key use", error=describe(failure))


def _write(session: Session, used: Mapping[str, datetime]) -> None:
    # Sorted: of two processes that write at once, neither waits for the other while the other waits for it.
    for key_id in sorted(used):
        last = col(ApiKey.last_used_at)
        # A key that has ended may be remembered for a while: that it was tried is no use.
        is_later = or_(last.is_(None), last < used[key_id])
        row = update(ApiKey).where(col(ApiKey.id) == key_id, col(ApiKey.revoked_at).is_(None), is_later)
        session.connection().execute(row.values(last_used_at=used[key_id]))
