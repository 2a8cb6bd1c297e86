"""Probes for whoever operates the service."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from weakref import WeakKeyDictionary

from case_orders import audit, migrations, outbox
from case_orders.db import Database, now
from case_orders.documents.store import DocumentStore
from case_orders.envelope import JSON, Answer, ok
from case_orders.errors import Unavailable
from case_orders.keyring import KeysUnusable
from case_orders.migrations import Newer

# A job that is due and waits this long has no worker, or shares a slow destination with too many others.
LONGEST_WAIT_SECONDS = 300
# Anybody may ask, so what was found is told again for so long.
KEPT_SECONDS = 1.0

_looks: WeakKeyDictionary[Database, tuple[float, asyncio.Task[list[JSON]]]] = WeakKeyDictionary()


def get_liveness() -> Answer:
    return Answer(200, "Alive")


async def get_readiness(database: Database, documents: DocumentStore, stop: asyncio.Event) -> Answer:
    """503 with every check's outcome when the process cannot answer requests, or soon will not.

    That jobs wait is told and no more: other processes work on them, and this one is as ready as before.
    """
    checks = await asyncio.shield(_latest_look(database, documents))
    if stop.is_set():
        checks = [*checks, {"name": "process", "ok": False, "detail": "stopping"}]
    failed = [check["name"] for check in checks if not check["ok"] and check["name"] != "jobs"]
    if not failed:
        return ok("Ready", checks=checks)
    words = f"Not ready: {', '.join(failed)}"
    raise Unavailable(words, "not_ready", headers={"Retry-After": "5"}, data={"checks": checks})


def _latest_look(database: Database, documents: DocumentStore) -> asyncio.Task[list[JSON]]:
    begun, look = _looks.get(database, (0.0, None))
    if look is None or (look.done() and time.monotonic() - begun > KEPT_SECONDS):
        begun, look = time.monotonic(), asyncio.create_task(_look(database, documents))
        _looks[database] = begun, look
    return look


async def _look(database: Database, documents: DocumentStore) -> list[JSON]:
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

    async def sealing() -> str:
        await database.read(audit.require_known_key)
        return "known"

    looks = {
        "database": answering,
        "migrations": migrated,
        "keys": sealing,
        "documents": reachable,
        "jobs": working,
    }
    return [await _check(name, look) for name, look in looks.items()]


async def _check(name: str, look: Callable[[], Awaitable[str]]) -> JSON:
    try:
        return {"name": name, "ok": True, "detail": await look()}
    except Exception as failure:  # whatever it is, the probe must answer
        return {"name": name, "ok": False, "detail": _in_words(failure)}


def _in_words(failure: Exception) -> str:
    match failure:
        case Unavailable():
            return failure.error
        case Newer() | KeysUnusable():
            return str(failure)
    return type(failure).__name__
