"""Placements per second with many orders stored, beside those into an empty database."""

from bench import load, rounds
from bench.figures import RATE, Verdict, ratio
from bench.filling import multiply, place
from bench.plan import Plan
from bench.programs import OURS, Stage
from bench.report import ROUND_HEAD, Section, round_rows
from bench.rounds import Served
from bench.world import placements

CONNECTIONS = 32


def measure(stage: Stage, plan: Plan) -> list[Section]:
    kind = stage.databases.kind
    requests = load.prepare(stage.folder / "placements", placements(stage.world.tenants))
    with stage.started(OURS) as empty, stage.started(OURS) as full:
        place(stage, full, stage.world.tenants, at_least=1_000)
        multiply(stage.databases, full.database_url, plan.stored_orders)
        names = "empty", f"{plan.stored_orders:,} orders stored"
        subjects = [Served(stage, program, requests, name) for program, name in zip((empty, full), names, strict=True)]
        rounds.warm(subjects, CONNECTIONS)
        took = rounds.run(subjects, CONNECTIONS, plan.rounds)
    bound = 0.75 if kind == "sqlite" else 0.9
    verdict = Verdict(f"rate with {names[1]} / empty", ratio(took, names[1], names[0], RATE), bound)
    return [Section(f"Growth, {kind}", ROUND_HEAD, round_rows(took, str(CONNECTIONS)), [verdict])]
