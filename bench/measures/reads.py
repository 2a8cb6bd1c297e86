"""getOrder and listOrders beside FastAPI: an organization with many orders reads one of them, or a page of 20."""

from contextlib import closing

from bench import load, rounds
from bench.figures import CPU, RATE, Verdict, ratio
from bench.filling import multiply, place
from bench.plan import Plan
from bench.programs import FASTAPI, OURS, Program, Stage
from bench.report import ROUND_HEAD, Section, round_rows
from bench.rounds import Served
from bench.world import Tenant, get

CONNECTIONS = 32
READ, FIRST, DEEP = "getOrder", "listOrders, first page", "listOrders, deep page"


def measure(stage: Stage, plan: Plan) -> list[Section]:
    section = Section(f"Reads of {plan.listed_orders:,} orders, {stage.databases.kind}", ROUND_HEAD)
    with stage.started(OURS) as ours, stage.started(FASTAPI) as theirs:
        subjects = [subject for program in (ours, theirs) for subject in _readers(stage, plan, program)]
        rounds.warm(subjects, CONNECTIONS)
        took = rounds.run(subjects, CONNECTIONS, plan.rounds, writes=False)
    section.rows = round_rows(took, str(CONNECTIONS))
    for what in (READ, FIRST, DEEP):
        pair = f"{OURS}: {what}", f"{FASTAPI}: {what}"
        section.verdicts += [
            Verdict(f"{what}: rate / FastAPI", ratio(took, *pair, RATE), 5),
            Verdict(f"{what}: CPU / FastAPI", ratio(took, *pair, CPU), 0.2, at_most=True),
        ]
    deep = ratio(took, f"{OURS}: {DEEP}", f"{OURS}: {FIRST}", RATE)
    section.verdicts.append(Verdict("rate of a deep page / the first", deep, 0.9))
    return [section]


def _readers(stage: Stage, plan: Plan, program: Program) -> list[Served]:
    """The ways of reading, once the first organization has its orders."""
    tenant = stage.world.tenants[0]
    place(stage, program, [tenant], at_least=200)
    with closing(stage.databases.connect(program.database_url)) as connection:
        ids = [row[0] for row in connection.execute("SELECT id FROM orders").fetchall()]
    multiply(stage.databases, program.database_url, plan.listed_orders)
    requests = {
        READ: [get(f"/api/v1/orders/{order}", tenant.key) for order in ids],
        FIRST: [_page(tenant, "")],
        DEEP: [_page(tenant, f"&cursor={_deep(stage, plan, program)}")],
    }
    return [
        Served(stage, program, load.prepare(stage.folder / f"{program.name}-{what}", asked), f"{program.name}: {what}")
        for what, asked in requests.items()
    ]


def _page(tenant: Tenant, cursor: str) -> str:
    return get(f"/api/v1/orders?limit=20{cursor}", tenant.key)


def _deep(stage: Stage, plan: Plan, program: Program) -> str:
    """The id after nine tenths of the orders, newest first."""
    with closing(stage.databases.connect(program.database_url)) as connection:
        skipping = f"SELECT id FROM orders ORDER BY id DESC LIMIT 1 OFFSET {plan.listed_orders * 9 // 10}"
        return str(connection.execute(skipping).fetchone()[0])
