"""How often one may ask: a rate for each API key, one for each organization, one for keys that fail.

Requests are counted in windows of the clock. Within a window what is left and when it ends are exact, which is what the
header `RateLimit` tells (draft-ietf-httpapi-ratelimit-headers-10), and processes that share counts need agree on no
more than the time.
"""

import hashlib
import ipaddress
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

from case_orders.edge.exchange import Caller, Exchange, Scope
from case_orders.errors import TooManyRequests, Unauthorized
from case_orders.rate import Rate

_WHO: dict[str, Callable[[Caller], str]] = {
    "key": lambda caller: caller.key_id,
    "organization": lambda caller: caller.organization_id,
}


class SharedCounts(Protocol):
    """Counts that several processes keep together."""

    async def add(self, names: Sequence[str], seconds: Sequence[int]) -> Sequence[int]:
        """Add one to each count, which is forgotten after so many seconds; the new counts, or none if it is away."""
        ...

    async def close(self) -> None: ...


class Quota:
    """One rate, counted for each of those whom it holds for."""

    def __init__(self, name: str, rate: Rate) -> None:
        self.name = name
        self.rate = rate
        self.window = 0
        self._used: dict[str, int] = {}

    def turn(self, now: float) -> None:
        """Begin the window of `now`, unless it has begun: the counts of the last one go all at once."""
        window = int(now // self.rate.seconds)
        if window != self.window:
            self.window, self._used = window, {}

    def take(self, who: str) -> bool:
        """Count one for `who`, unless nothing is left."""
        used = self._used.get(who, 0)
        if used >= self.rate.amount:
            return False
        self._used[who] = used + 1
        return True

    def give_back(self, who: str) -> None:
        if used := self._used.get(who):
            self._used[who] = used - 1

    def learn(self, who: str, window: int, used: int) -> bool:
        """Take over a count that is shared, if it is of this window; whether that is still within the rate."""
        if window == self.window:
            self._used[who] = max(self._used.get(who, 0), used)
        return used <= self.rate.amount

    def left(self, who: str) -> int:
        return max(0, self.rate.amount - self._used.get(who, 0))

    def seconds_left(self, now: float) -> int:
        """Until the window ends; at least 1."""
        return max(1, math.ceil((self.window + 1) * self.rate.seconds - now))

    def retry_after(self, now: float) -> dict[str, str]:
        return {"Retry-After": str(self.seconds_left(now))}


class Rates:
    """What callers may ask."""

    def __init__(self, per_key: Rate | None, per_organization: Rate | None, shared: SharedCounts | None = None) -> None:
        """A rate that is None does not hold. Without `shared` this process counts for itself."""
        given = {"key": per_key, "organization": per_organization}
        self._quotas = [Quota(name, rate) for name, rate in given.items() if rate]
        self._shared = shared
        policies = (f'"{quota.name}";q={quota.rate.amount};w={quota.rate.seconds}' for quota in self._quotas)
        self._policy = (b"ratelimit-policy", ", ".join(policies).encode())

    async def charge(self, exchange: Exchange, caller: Caller) -> None:
        """Count a request, and have its answer tell what is left; raises `TooManyRequests`.

        What its own key's rate refuses is not counted for the organization: one key gone wild leaves room to others.
        """
        if not self._quotas:
            return
        now = time.time()
        asked = [(quota, _WHO[quota.name](caller)) for quota in self._quotas]
        for quota in self._quotas:
            quota.turn(now)
        exceeded = next((quota for quota, who in asked if not quota.take(who)), None)
        if self._shared and exceeded is None:
            exceeded = await self._exceeded_together(self._shared, asked)
        left = (f'"{quota.name}";r={quota.left(who)};t={quota.seconds_left(now)}' for quota, who in asked)
        exchange.answer_headers += [self._policy, (b"ratelimit", ", ".join(left).encode())]
        if exceeded:
            words = f"The {exceeded.name} may make {exceeded.rate.amount} requests in {exceeded.rate.seconds} seconds"
            raise TooManyRequests(words, "rate_limited", headers=exceeded.retry_after(now))

    async def _exceeded_together(self, shared: SharedCounts, asked: Sequence[tuple[Quota, str]]) -> Quota | None:
        """The first quota that all processes together have used up. While the shared counts are away, none."""
        windows = [quota.window for quota, _ in asked]
        names = [f"{quota.name}:{who}:{window}" for (quota, who), window in zip(asked, windows, strict=True)]
        counts = await shared.add(names, [quota.rate.seconds for quota, _ in asked])
        within = [
            quota.learn(who, window, used)
            for (quota, who), window, used in zip(asked, windows, counts, strict=False)  # no counts: nothing to learn
        ]
        return asked[within.index(False)][0] if False in within else None


class FailedKeys:
    """Refuses keys from an address that sent too many bad ones, before anybody looks them up.

    A key that was good lately is not held back by what others at its address do. Each process counts for itself: it
    alone knows which keys were good.
    """

    def __init__(self, rate: Rate | None) -> None:
        self._quota = Quota("address", rate) if rate else None
        self._good: set[bytes] = set()

    @contextmanager
    def attempt(self, scope: Scope, key: str) -> Iterator[None]:
        """Around the look-up of a key. It counts as failed until it is found good, so a flood is not let in at once."""
        mark = hashlib.sha256(key.encode("latin-1")).digest()
        if self._quota is None or mark in self._good:
            try:
                yield
            except Unauthorized:
                self._good.discard(mark)
                raise
            return
        address = network_of(scope)
        self._take(self._quota, address)
        try:
            yield
        except Unauthorized:
            raise
        except BaseException:
            self._quota.give_back(address)
            raise
        self._quota.give_back(address)
        self._good.add(mark)

    def _take(self, quota: Quota, address: str) -> None:
        now = time.time()
        quota.turn(now)
        if not quota.take(address):
            words = f"Your address may send {quota.rate.amount} keys that are not valid in {quota.rate.seconds} seconds"
            raise TooManyRequests(words, "too_many_failed_keys", headers=quota.retry_after(now))


def network_of(scope: Scope) -> str:
    """Whom an address stands for: itself, or with IPv6 the 64 bits that one customer of a provider gets."""
    address = scope["client"][0] if scope.get("client") else ""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return str(address)
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    return str(parsed.ipv4_mapped or parsed.packed[:8].hex())
