"""Counts in Redis, for API processes that keep rates together. Needs the extra `redis`."""

import time
from collections.abc import Sequence

import structlog
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from case_orders.errors import describe

log = structlog.get_logger("case_orders.rates")

_CONNECTIONS = 16
_PATIENCE_SECONDS = 0.25
_AWAY_SECONDS = 60


class RedisCounts:
    """Asks Redis once for each request.

    An order must not wait for a counter, let alone be refused for the want of one: when Redis does not answer, it is
    left alone for a minute, and each process goes by its own counts. So one line a minute is logged, too.
    """

    def __init__(self, url: str) -> None:
        """`url` is `redis://`, `rediss://` or `unix://`. Connects when it is first asked."""
        pool = BlockingConnectionPool.from_url(
            url,
            max_connections=_CONNECTIONS,
            timeout=_PATIENCE_SECONDS,
            socket_timeout=_PATIENCE_SECONDS,
            socket_connect_timeout=_PATIENCE_SECONDS,
            retry=Retry(NoBackoff(), 0),
        )
        self._redis = Redis.from_pool(pool)
        self._away_until = 0.0

    async def add(self, names: Sequence[str], seconds: Sequence[int]) -> Sequence[int]:
        """Add one to each count, which is forgotten after so many seconds; the new counts, or none if Redis is away."""
        if time.monotonic() < self._away_until:
            return ()
        try:
            async with self._redis.pipeline(transaction=False) as pipeline:
                for name, lifetime in zip(names, seconds, strict=True):
                    pipeline.incr(f"case-orders:{name}")
                    pipeline.expire(f"case-orders:{name}", lifetime)
                counts: Sequence[int] = (await pipeline.execute())[::2]
                return counts
        except (RedisError, OSError, TimeoutError) as error:
            self._leave_alone(error)
            return ()

    def _leave_alone(self, error: Exception) -> None:
        now = time.monotonic()
        if now >= self._away_until:  # only the first of the requests that were waiting
            self._away_until = now + _AWAY_SECONDS
            log.error("rate store away", error=describe(error))

    async def close(self) -> None:
        await self._redis.aclose()
