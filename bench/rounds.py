"""Interleaved slices: every subject works for a second, in turn, round after round.

Whatever disturbs the machine for longer than a second disturbs all of them, so the ratios of a round hold where the
figures themselves would not.
"""

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from bench import cpu, databases, load
from bench.load import Load
from bench.programs import LOOP, Program, Stage


@dataclass(frozen=True)
class Slice:
    """What a subject did in one slice: its load, the orders that it stored, CPU seconds of it and of the database."""

    load: Load
    stored: int
    server_cpu: float
    database_cpu: float

    @property
    def cpu_ms(self) -> float:
        """CPU milliseconds for each request, those included that nobody waited for."""
        return self._for_each(self.server_cpu + self.database_cpu)

    @property
    def database_cpu_ms(self) -> float:
        """What the database has of it."""
        return self._for_each(self.database_cpu)

    def _for_each(self, seconds: float) -> float:
        return 1000 * seconds / max(self.load.answers, self.stored)


Round = dict[str, Slice]


class Refused(Exception):
    """So many rounds were wrong that the rest tells nothing."""


def faults(took: Slice, *, writes: bool = True) -> list[str]:
    """What makes a slice worthless, however fast it was."""
    seen = took.load
    return [
        *(["no answers"] if seen.answers == 0 else []),
        *([f"{seen.wrong} wrong answers"] if seen.wrong else []),
        *([f"{seen.broken} broken connections"] if seen.broken else []),
        *([f"{seen.answers} answers, {took.stored} stored"] if writes and took.stored < seen.answers else []),
    ]


def prove_refusal(stage: Stage, requests: Path) -> None:
    """A bench that took a liar's figures would prove nothing: raises `Refused` unless both of its lies are found."""
    with stage.started("liar", stage.database_for("liar")) as program:
        found = faults(Served(stage, program, requests).work(connections=1))
    if [fault.rpartition(" ")[2] for fault in found] != ["answers", "stored"]:
        raise Refused(f"a liar was not found out: {found}")


class Subject(Protocol):
    """What takes part in a round."""

    name: str

    def work(self, connections: int) -> Slice: ...


class Served:
    """A program under the load of prepared requests."""

    def __init__(self, stage: Stage, program: Program, requests: Path, name: str | None = None) -> None:
        self.name = name or program.name
        self.program = program
        self._stage = stage
        self._requests = requests

    def work(self, connections: int) -> Slice:
        rows = self._rows()
        server, database = self._stage.cpu_seconds(self.program)
        seen = load.run(self.program.port, self._requests, connections)
        cpu.settle(self.program.pid)
        server_after, database_after = self._stage.cpu_seconds(self.program)
        return Slice(seen, _stored(rows, self._rows()), server_after - server, database_after - database)

    def _rows(self) -> list[int]:
        return databases.rows(self._stage.databases, self.program.database_url)


def _stored(before: list[int], after: list[int]) -> int:
    """How many orders came with everything that belongs to them."""
    return min(now - then for then, now in zip(before, after, strict=True))


class Loop:
    """The driver in a loop; the number of connections means nothing to it."""

    name = LOOP

    def __init__(self, stage: Stage, process: subprocess.Popen[str], url: str) -> None:
        self._stage = stage
        self._process = process
        self._url = url

    def work(self, _connections: int) -> Slice:
        rows = databases.rows(self._stage.databases, self._url)
        before, database = cpu.seconds(self._process.pid), self._stage.databases.cpu_seconds()
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("1\n")
        self._process.stdin.flush()
        seen = Load(**json.loads(self._process.stdout.readline()))
        spent = cpu.seconds(self._process.pid) - before
        stored = _stored(rows, databases.rows(self._stage.databases, self._url))
        return Slice(seen, stored, spent, self._stage.databases.cpu_seconds() - database)


@contextmanager
def looping(stage: Stage) -> Iterator[Loop]:
    """The driver in a loop, on a copy of the peers' template."""
    url = stage.database_for(Loop.name)
    command = [sys.executable, "-m", f"bench.peers.{LOOP}", url, str(stage.world_file)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield Loop(stage, process, url)


@contextmanager
def serving(stage: Stage, names: Sequence[str], requests: Path) -> Iterator[list[Subject]]:
    """These programs side by side, each on its own database."""
    with ExitStack() as stack:
        yield [
            stack.enter_context(looping(stage))
            if name == Loop.name
            else Served(stage, stack.enter_context(stage.started(name)), requests)
            for name in names
        ]


def warm(subjects: Sequence[Subject], connections: int) -> None:
    """A slice each that counts for nothing."""
    for subject in subjects:
        subject.work(connections)


def run(subjects: Sequence[Subject], connections: int, rounds: int, *, writes: bool = True) -> list[Round]:
    """The rounds in which nobody was wrong. The first subject of each is the last of the one before.

    Raises `Refused` if half of them or more were wrong.
    """
    good: list[Round] = []
    for number in range(1, rounds + 1):
        turn = number % len(subjects)
        worked = {subject.name: subject.work(connections) for subject in [*subjects[turn:], *subjects[:turn]]}
        took = {subject.name: worked[subject.name] for subject in subjects}
        wrong = {name: found for name, slice_ in took.items() if (found := faults(slice_, writes=writes))}
        if wrong:
            told = "; ".join(f"{name}: {', '.join(found)}" for name, found in wrong.items())
            print(f"round {number} refused: {told}", file=sys.stderr)  # noqa: T201
        else:
            good.append(took)
    if len(good) * 2 <= rounds:
        raise Refused(f"{len(good)} of {rounds} rounds were right")
    return good
