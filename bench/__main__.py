"""`python -m bench`: runs the bench and writes what it found to bench/results/."""
# ruff: noqa: T201  a command speaks

import argparse
import shlex
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from bench import databases, load, plot, report, rounds, world
from bench.measures import growth, heavy, memory, placements, reads, start
from bench.plan import QUICK, Plan
from bench.programs import ROOT, Checkout, Stage
from bench.report import Section
from bench.world import World

RESULTS = ROOT / "bench" / "results"
KINDS = ("sqlite", "postgresql")

MEASURES: dict[str, Callable[[Stage, Plan], list[Section]]] = {
    "placements": placements.measure,
    "reads": reads.measure,
    "heavy": heavy.measure,
    "start": start.measure,
    "growth": growth.measure,
    "memory": memory.measure,
}
QUICKLY = ("placements", "reads")


def options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench", description="Measure case-orders beside its peers.")
    parser.add_argument("--quick", action="store_true", help="what shows most, in less than three minutes")
    parser.add_argument("--only", help=f"measures, separated by commas: {', '.join(MEASURES)}")
    parser.add_argument("--database", choices=(*KINDS, "both"), default="both")
    parser.add_argument("--rounds", type=int, help="how many rounds of slices")
    parser.add_argument("--connections", help="numbers of connections, separated by commas")
    parser.add_argument("--tree", type=Path, default=ROOT, help="the checkout of case-orders that is measured")
    parser.add_argument("--python", type=Path, help="the interpreter that runs it; by default this one, or its .venv's")
    chosen = parser.parse_args(arguments)
    if unknown := set(names(chosen)) - set(MEASURES):
        parser.error(f"no such measure: {', '.join(unknown)}")
    return chosen


def names(chosen: argparse.Namespace) -> list[str]:
    """The measures to take."""
    return chosen.only.split(",") if chosen.only else list(QUICKLY if chosen.quick else MEASURES)


def plan(chosen: argparse.Namespace) -> Plan:
    base = QUICK if chosen.quick else Plan()
    connections = tuple(map(int, chosen.connections.split(","))) if chosen.connections else base.connections
    return replace(base, rounds=chosen.rounds or base.rounds, connections=connections)


def checkout(chosen: argparse.Namespace) -> Checkout:
    tree = chosen.tree.absolute()
    own = Path(sys.executable) if tree == ROOT else tree / ".venv" / "bin" / "python"
    return Checkout(tree, (chosen.python or own).absolute())


def main(arguments: list[str]) -> int:
    chosen, begun = options(arguments), time.monotonic()
    sections, versions = [], []
    for kind in KINDS if chosen.database == "both" else (chosen.database,):
        with TemporaryDirectory(prefix="bench-") as folder, databases.opened(kind, Path(folder)) as made:
            versions.append(made.version)
            stage = Stage(made, checkout(chosen), World.create(), Path(folder))
            rounds.prove_refusal(stage, load.prepare(Path(folder) / "proof", world.placements(stage.world.tenants)))
            for name in names(chosen):
                sections += MEASURES[name](stage, plan(chosen))
    told = report.markdown(sections, versions, shlex.join(["bench", *arguments]))
    print(told)
    print(f"{time.monotonic() - begun:.0f} s")
    _write(told, sections)
    return 0 if all(verdict.met for section in sections for verdict in section.verdicts) else 1


def _write(told: str, sections: list[Section]) -> None:
    name = f"{datetime.now(UTC):%Y-%m-%d-%H%M%S}"
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.md").write_text(told)
    if any(section.plot for section in sections):
        (RESULTS / f"{name}.svg").write_text(plot.svg(sections))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
