"""How much a run does."""

from dataclasses import dataclass

from bench.programs import CONNEXION, FASTAPI, LOOP, RAW


@dataclass(frozen=True)
class Plan:
    """The full bench, or the quick one."""

    connections: tuple[int, ...] = (1, 8, 32, 64)
    rounds: int = 9
    peers: tuple[str, ...] = (FASTAPI, CONNEXION, RAW, LOOP)
    listed_orders: int = 100_000
    stored_orders: int = 1_000_000
    remembered_orders: int = 100_000


QUICK = Plan(
    connections=(1, 32),
    rounds=3,
    peers=(FASTAPI, RAW),
    listed_orders=20_000,
    stored_orders=100_000,
    remembered_orders=20_000,
)
