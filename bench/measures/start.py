"""How long case-orders takes from its start until it is ready."""

from bench.figures import Spread, Verdict
from bench.plan import Plan
from bench.programs import OURS, Stage
from bench.report import Section

STARTS = 5


def measure(stage: Stage, _plan: Plan) -> list[Section]:
    url = stage.database_for(OURS)
    stage.seconds_to_ready(url)  # the first start compiles what was never imported before
    took = Spread.of([stage.seconds_to_ready(url) for _ in range(STARTS)])
    verdict = Verdict("seconds from start to ready", took, 1.5, at_most=True)
    return [Section(f"Start, {stage.databases.kind}", ["Starts", "seconds"], [[str(STARTS), str(took)]], [verdict])]
