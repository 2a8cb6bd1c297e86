"""What a run found, as Markdown."""

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from bench.figures import CPU, DATABASE_CPU, P50, P99, RATE, Verdict, of, short
from bench.rounds import Round

Row = list[str]


@dataclass
class Section:
    """One measure on one kind of database: a table, verdicts on it, and for each subject rates to plot by name."""

    title: str
    head: Row
    rows: list[Row] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)
    plot: dict[str, dict[str, float]] = field(default_factory=dict)


ROUND_HEAD = ["Subject", "Load", "per second", "p50 ms", "p99 ms", "CPU ms", "of it database"]


def round_rows(rounds: Sequence[Round], load: str) -> list[Row]:
    """A row for each subject of some rounds: the medians, and the spread of the rate."""
    return [
        [
            name,
            load,
            str(of(rounds, name, RATE)),
            *(short(of(rounds, name, figure).median) for figure in (P50, P99, CPU, DATABASE_CPU)),
        ]
        for name in rounds[0]
    ]


def table(head: Row, rows: Sequence[Row]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def markdown(sections: Sequence[Section], versions: Sequence[str], options: str) -> str:
    """The report of a run."""
    verdicts = [
        [section.title, verdict.what, verdict.target, str(verdict.measured), "met" if verdict.met else "**missed**"]
        for section in sections
        for verdict in section.verdicts
    ]
    parts = [
        f"# Bench of {datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        f"`{options}`\n\n{machine()}; {', '.join(versions)}.",
        "Medians over the rounds; a ratio is the median of the rounds' ratios. In brackets: least to greatest. "
        "CPU is that of one request, in the program and in the server of the database; SQLite works in the program.",
        "## Verdicts\n" + table(["Measure", "Figure", "Target", "Measured", "Verdict"], verdicts),
        *(f"## {section.title}\n{table(section.head, section.rows)}" for section in sections),
    ]
    return "\n\n".join(parts) + "\n"


def machine() -> str:
    """The machine and the versions that count."""
    model = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    name = model[0].partition(":")[2].strip() if model else platform.machine()
    load = os.getloadavg()[2]
    packages = ", ".join(f"{name} {version(name)}" for name in ("connexion", "fastapi", "sqlmodel", "uvicorn"))
    return (
        f"{os.cpu_count()} x {name}, Linux {platform.release()}, load of the last 15 minutes {load:.1f}; "
        f"Python {platform.python_version()}, {packages}"
    )
