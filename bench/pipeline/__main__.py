"""`python -m bench.pipeline` starts the service as processes on throwaway databases that flush every commit, with a
pharmacy and a webhook receiver that do as little as the protocol allows, and writes `bench/results/pipeline.md`.
"""

import argparse
import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

from bench.pipeline import measures

_RESULTS = Path(__file__).parents[1] / "results" / "pipeline.md"
_KINDS = ("sqlite", "postgresql")
_CROWDS = (0, 10_000, 1_000_000)

Rows = AsyncIterator[str]


async def _throughputs(asked: argparse.Namespace) -> Rows:
    for kind in asked.kinds:
        for life in asked.lives:
            for workers in asked.workers:
                if kind != "sqlite" or workers <= 2:
                    yield await measures.throughput(kind, workers, asked.orders, life)


async def _waits(asked: argparse.Namespace) -> Rows:
    for kind in asked.kinds:
        yield await measures.waiting(kind)


async def _claims(asked: argparse.Namespace) -> Rows:
    for kind in asked.kinds:
        for crowd in asked.crowds:
            yield await measures.claiming(kind, crowd)


@dataclass(frozen=True)
class _Table:
    """A table of the report: what it tells, its columns, and where its rows come from."""

    words: str
    columns: tuple[str, ...]
    rows: Callable[[argparse.Namespace], Rows]

    @property
    def head(self) -> list[str]:
        return ["", self.words, "", f"| {' | '.join(self.columns)} |", "|---" * len(self.columns) + "|"]


_TABLES = {
    "throughput": _Table(
        "CPU in ms for an order. A short life has one report and 5 messages, a full one 5 reports and 10 messages.",
        ("Database", "Life", "Workers", "Orders/s", "CPU workers", "CPU API", "CPU PostgreSQL"),
        _throughputs,
    ),
    "waiting": _Table(
        "One order at a time, until the pharmacy has it, in ms: from the request, and from its answer.",
        ("Database", "p50 from request", "longest", "p50 from answer", "longest"),
        _waits,
    ),
    "claiming": _Table(
        "A claim behind a crowd of jobs for one pharmacy that has its share, with its commit, in ms.",
        ("Database", "Crowd", "p50", "longest"),
        _claims,
    ),
}


async def _main() -> None:
    asked = _arguments()
    report = ["# The pipeline behind an accepted order"]
    for name in asked.only or _TABLES:
        report += _TABLES[name].head
        print(*_TABLES[name].head, sep="\n")
        async for row in _TABLES[name].rows(asked):
            report.append(row)
            print(row, flush=True)
    if not asked.only:
        _RESULTS.write_text("\n".join(report) + "\n")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.pipeline", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=[*_TABLES], help="some tables, printed alone")
    parser.add_argument("--kinds", nargs="+", choices=_KINDS, default=_KINDS)
    parser.add_argument("--orders", type=int, default=600)
    parser.add_argument("--workers", nargs="+", type=int, default=(1, 2, 4))
    parser.add_argument("--lives", nargs="+", choices=("short", "full"), default=("short", "full"))
    parser.add_argument("--crowds", nargs="+", type=int, default=_CROWDS)
    return parser.parse_args()


if __name__ == "__main__":
    asyncio.run(_main())
