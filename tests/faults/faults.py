"""What a fault is: something that is done to a deployment under load."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from tests.faults.fleet import Fleet
from tests.faults.load import DRUGS

SECONDS = 3
"""How long a fault lasts that has no length of its own."""

Injection = Callable[[Fleet], Awaitable[int]]


@dataclass(frozen=True)
class Fault:
    """`inject` returns how often it struck, which must not be never; `drugs` are what is ordered meanwhile."""

    name: str
    inject: Injection
    drugs: Sequence[str] = DRUGS


class Unmoved(AssertionError):
    """The deployment did not do under a fault what it should."""


async def nothing(fleet: Fleet) -> int:
    await asyncio.sleep(SECONDS)
    return 1


def together(*injections: Injection) -> Injection:
    """Several at once."""

    async def inject(fleet: Fleet) -> int:
        return sum(await asyncio.gather(*(injection(fleet) for injection in injections)))

    return inject


async def until(happened: Callable[[], bool], seconds: float = 20) -> None:
    """Returns when it has happened; TimeoutError."""
    async with asyncio.timeout(seconds):
        while not happened():
            await asyncio.sleep(0.02)
