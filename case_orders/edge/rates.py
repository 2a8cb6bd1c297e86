"""How often one may ask: a rate for each key, organization and pharmacy, and one for what fails to prove who asks.

Requests are counted in windows of the clock. Within a window what is left and when it ends are exact, which is what the
header `RateLimit` tells (draft-ietf-httpapi-ratelimit-headers-10), and processes that share counts need agree on no
more than the time.
"""

import hashlib
import ipaddress
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Protocol

from case_orders.edge.exchange import Exchange
from case_orders.errors import TooManyRequests, Unauthorized
from case_orders.rate import Rate


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
    """What those may ask who proved who they are."""

    def __init__(self, given: Mapping[str, Rate | None], shared: SharedCounts | None = None) -> None:
        """Rates by whom they hold for; one that is None does not. Without `shared` this process counts for itself."""
        self._quotas = [Quota(name, rate) for name, rate in given.items() if rate]
        self._shared = shared
        policies = (f'"{quota.name}";q={quota.rate.amount};w={quota.rate.seconds}' for quota in self._quotas)
        self._policy = (b"ratelimit-policy", ", ".join(policies).encode())

    async def charge(self, exchange: Exchange, asking: Mapping[str, str]) -> None:
        """Count a request for each of those who ask, and have its answer tell what is left; raises `TooManyRequests`.

        What the first rate refuses is not counted for the next: one key gone wild leaves room to its organization.
        """
        if not self._quotas:
            return
        now = time.time()
        asked = [(quota, asking[quota.name]) for quota in self._quotas]
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


class Unproven(ABC):
    """Refuses an address that failed too often to prove who asks, before anybody looks whether it can.

    A claim that was good lately is not held back by what others at its address do. Each process counts for itself: it
    alone knows which claims were good.
    """

    def __init__(self, rate: Rate | None) -> None:
        """A rate that is None does not hold."""
        self._quota = Quota("address", rate) if rate else None
        self._good: set[bytes] = set()

    @contextmanager
    def attempt(self, address: str | None, claim: str) -> Iterator[None]:
        """Around the proof, by a key or a signature. It counts as failed until it is there, so no flood is let in."""
        mark = hashlib.sha256(claim.encode("latin-1")).digest()
        if self._quota is None or mark in self._good:
            try:
                yield
            except Unauthorized:
                self._good.discard(mark)
                raise
            return
        network = network_of(address)
        self._take(self._quota, network)
        try:
            yield
        except Unauthorized:
            raise
        except BaseException:
            self._quota.give_back(network)
            raise
        self._quota.give_back(network)
        self._good.add(mark)

    def _take(self, quota: Quota, network: str) -> None:
        now = time.time()
        quota.turn(now)
        if not quota.take(network):
            raise self.refusal(quota.rate, quota.retry_after(now))

    @abstractmethod
    def refusal(self, rate: Rate, headers: Mapping[str, str]) -> TooManyRequests:
        """What an address is told."""


class FailedKeys(Unproven):
    """The claim is an API key."""

    def refusal(self, rate: Rate, headers: Mapping[str, str]) -> TooManyRequests:
        words = f"Your address may send {rate.amount} keys that are not valid in {rate.seconds} seconds"
        return TooManyRequests(words, "too_many_failed_keys", headers=headers)


class FailedSignatures(Unproven):
    """The claim is to be the pharmacy of a connection."""

    def refusal(self, rate: Rate, headers: Mapping[str, str]) -> TooManyRequests:
        words = f"Your address may send {rate.amount} reports whose signature is not valid in {rate.seconds} seconds"
        return TooManyRequests(words, "too_many_failed_signatures", headers=headers)


def network_of(address: str | None) -> str:
    """Whom an address stands for: itself, or with IPv6 the 64 bits that one customer of a provider gets."""
    if address is None:
        return ""
    parsed = ipaddress.ip_address(address)
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    return str(parsed.ipv4_mapped or parsed.packed[:8].hex())
