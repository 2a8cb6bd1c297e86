"""Placements per second, latency and CPU beside the peers, at each number of connections."""

from collections.abc import Sequence

from bench import load, rounds
from bench.figures import CPU, P99, RATE, Verdict, of, ratio
from bench.plan import Plan
from bench.programs import FASTAPI, OURS, RAW, Stage
from bench.report import ROUND_HEAD, Section, round_rows
from bench.rounds import Round
from bench.world import placements

BUSY = 32


def measure(stage: Stage, plan: Plan) -> list[Section]:
    kind = stage.databases.kind
    section = Section(f"Placements, {kind}", ROUND_HEAD)
    requests = load.prepare(stage.folder / "placements", placements(stage.world.tenants))
    with rounds.serving(stage, (OURS, *plan.peers), requests) as subjects:
        rounds.warm(subjects, BUSY)
        for connections in plan.connections:
            took = rounds.run(subjects, connections, plan.rounds)
            section.rows += round_rows(took, str(connections))
            section.verdicts += verdicts(kind, connections, took)
            section.plot[f"{connections} connections"] = {name: of(took, name, RATE).median for name in took[0]}
    return [section]


def verdicts(kind: str, connections: int, took: Sequence[Round]) -> list[Verdict]:
    """What the targets say of the ratios of case-orders to its peers."""
    lite = kind == "sqlite"
    if connections == 1:
        bound = 0.4 if lite else 0.8
        return [Verdict("rate / raw ASGI at 1 connection", ratio(took, OURS, RAW, RATE), bound)]
    if connections != BUSY:
        return []
    least, aim, tail = (8, 14, 0.05) if lite else (7, 12, 0.15)
    return [
        Verdict("rate / FastAPI", ratio(took, OURS, FASTAPI, RATE), least, aim=aim),
        Verdict("p99 / FastAPI", ratio(took, OURS, FASTAPI, P99), tail, at_most=True),
        Verdict("CPU per order / FastAPI", ratio(took, OURS, FASTAPI, CPU), 0.10, at_most=True),
        Verdict("rate / raw ASGI", ratio(took, OURS, RAW, RATE), 1.0),
    ]
