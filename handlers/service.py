"""Probes for whoever operates the service."""

from collections.abc import Awaitable, Callable

from case_orders import migrations, outbox
from case_orders.db import Database, now
from case_orders.documents.store import DocumentStore
from case_orders.envelope import JSON, Answer, ok
from case_orders.errors import Unavailable

# A job that is due and waits this long has no worker.
LONGEST_WAIT_SECONDS = 300


def get_liveness() -> Answer:
    return Answer(200, "Alive")


async def get_readiness(database: Database, documents: DocumentStore) -> Answer:
    """503 with every check's outcome when one of them failed."""

    async def migrated() -> str:
        if not await database.read(lambda session: migrations.at_head(session.connection())):
            raise Unavailable("run case-orders migrate", "unavailable")
        return "at head"

    async def working() -> str:
        oldest = await database.read(outbox.oldest_due)
        wait = 0 if oldest is None else int((now() - oldest).total_seconds())
        words = f"oldest due job waits {wait} s"
        if wait > LONGEST_WAIT_SECONDS:
            raise Unavailable(words, "unavailable")
        return words

    async def reachable() -> str:
        await documents.check()
        return "reachable"

    async def answering() -> str:
        await database.read(lambda session: session.connection().exec_driver_sql("SELECT 1"))
        return "answers"

    looks = {"database": answering, "migrations": migrated, "documents": reachable, "jobs": working}
    checks = [await _check(name, look) for name, look in looks.items()]
    if all(check["ok"] for check in checks):
        return ok("Ready", checks=checks)
    failed = ", ".join(check["name"] for check in checks if not check["ok"])
    raise Unavailable(f"Not ready: {failed}", "not_ready", headers={"Retry-After": "5"}, data={"checks": checks})


async def _check(name: str, look: Callable[[], Awaitable[str]]) -> JSON:
    try:
        return {"name": name, "ok": True, "detail": await look()}
    except Exception as failure:  # whatever it is, the probe must answer
        detail = failure.error if isinstance(failure, Unavailable) else type(failure).__name__
        return {"name": name, "ok": False, "detail": detail}
