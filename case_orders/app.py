"""The API as an ASGI application: the contract, the handlers, and what they work with."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from case_orders.audit import Refusals, Trail
from case_orders.auth import Caller, Callers, public_part
from case_orders.db import Database
from case_orders.dispatch import Dispatcher
from case_orders.documents import DocumentStore
from case_orders.edge import routing
from case_orders.edge.exchange import ASGIApp, Exchange
from case_orders.edge.rates import FailedKeys, FailedSignatures, Rates, SharedCounts
from case_orders.errors import Refusal
from case_orders.key_use import KeyUse
from case_orders.links import Links
from case_orders.outbound import Outbound
from case_orders.rate import Rate
from case_orders.settings import Settings


def create_app(settings: Settings, database: Database, stop: asyncio.Event | None = None) -> ASGIApp:
    """The application on a database, which stays the caller's to close, and the document store of `settings`.

    Once `stop` is set it says that it is not ready, and answers all the same.
    """
    outbound, callers = Outbound(settings.outbound_allow), Callers(database)
    shared_counts, per_failure = _shared_counts(settings), Rate.parse(settings.rate_failed_keys)
    provided = {
        "documents": DocumentStore.open(settings.document_store),
        "links": Links.from_settings(settings),
        "outbound": outbound,
        "stop": stop or asyncio.Event(),
        "report_rates": Rates({"pharmacy": Rate.parse(settings.rate_per_pharmacy)}, shared_counts),
        "failed_signatures": FailedSignatures(per_failure),
    }

    refusals, uses = Refusals(database), KeyUse(database)

    async def authenticate(key: str) -> Caller:
        caller = await callers.authenticate(key)
        uses.note(caller.key_id)
        return caller

    async def on_refused(exchange: Exchange, refusal: Refusal, key: str | None) -> None:
        public = public_part(key) if key and not exchange.caller else None
        await refusals.record(Trail(exchange), refusal, **({"key": public} if public else {}))

    @asynccontextmanager
    async def lifespan(_app: Any) -> AsyncIterator[None]:
        async with outbound, uses.kept():
            yield
        if shared_counts:
            await shared_counts.close()

    return routing.build(
        authenticate=authenticate,
        recheck=callers.recheck,
        on_refused=on_refused,
        bind=Dispatcher(database, callers, refusals, provided).bind,
        lifespan=lifespan,
        body_seconds=settings.body_seconds,
        rates=Rates(
            {"key": Rate.parse(settings.rate_per_key), "organization": Rate.parse(settings.rate_per_organization)},
            shared_counts,
        ),
        failed_keys=FailedKeys(per_failure),
        cors_origins=settings.cors_origins,
    )


def _shared_counts(settings: Settings) -> SharedCounts | None:
    if settings.rate_store is None:
        return None
    from case_orders.edge.redis_counts import RedisCounts  # its client is installed only where it is used

    return RedisCounts(settings.rate_store.get_secret_value())
