"""From rounds to figures: medians of ratios with their spread, and what a target says of them."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import attrgetter

from bench.rounds import Round, Slice


def short(value: float) -> str:
    """Three digits that count, and never fewer than stand before the point."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


@dataclass(frozen=True)
class Spread:
    """The median of some values, and the least and the greatest of them."""

    median: float
    least: float
    greatest: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        return cls(statistics.median(values), min(values), max(values))

    def __str__(self) -> str:
        return f"{short(self.median)} ({short(self.least)} to {short(self.greatest)})"


Figure = Callable[[Slice], float]

RATE: Figure = attrgetter("load.rate")
P50: Figure = attrgetter("load.p50_ms")
P99: Figure = attrgetter("load.p99_ms")
CPU: Figure = attrgetter("cpu_ms")
DATABASE_CPU: Figure = attrgetter("database_cpu_ms")


def of(rounds: Sequence[Round], name: str, figure: Figure) -> Spread:
    """A subject's figure over the rounds."""
    return Spread.of([figure(took[name]) for took in rounds])


def ratio(rounds: Sequence[Round], ours: str, theirs: str, figure: Figure) -> Spread:
    """The ratio of two subjects' figures in each round."""
    return Spread.of([figure(took[ours]) / figure(took[theirs]) for took in rounds])


@dataclass(frozen=True)
class Verdict:
    """A figure that has a target: met from `bound` on, upwards or, with `at_most`, downwards."""

    what: str
    measured: Spread
    bound: float
    at_most: bool = False
    aim: float | None = None

    @property
    def met(self) -> bool:
        return self.measured.median <= self.bound if self.at_most else self.measured.median >= self.bound

    @property
    def target(self) -> str:
        aim = f", aim {self.aim:g}" if self.aim is not None else ""
        return f"{'at most' if self.at_most else 'at least'} {self.bound:g}{aim}"
