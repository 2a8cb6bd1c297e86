"""Whether the memory of case-orders is level while it takes many orders."""

from bench import cpu
from bench.figures import Spread, Verdict
from bench.filling import place
from bench.plan import Plan
from bench.programs import OURS, Stage
from bench.report import Section

LEVEL = 1.05


def measure(stage: Stage, plan: Plan) -> list[Section]:
    section = Section(f"Memory, {stage.databases.kind}", ["Orders taken", "MiB resident"])
    found = []
    with stage.started(OURS) as program:
        for orders in (plan.remembered_orders // 2, plan.remembered_orders):
            place(stage, program, stage.world.tenants, at_least=orders)
            found.append(cpu.resident_bytes(program.pid))
            section.rows.append([f"{orders:,}", f"{found[-1] / 2**20:.0f}"])
    growth = found[1] / found[0]
    section.verdicts = [Verdict("memory at the end / half-way", Spread(growth, growth, growth), LEVEL, at_most=True)]
    return [section]
