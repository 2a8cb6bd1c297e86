"""The whole matrix: every fault, on a deployment of two APIs and two workers, on either database."""

from collections.abc import Sequence

import pytest

from tests.faults import faults, machine, report
from tests.faults.faults import Fault
from tests.faults.fleet import Fleet, deployed
from tests.faults.run import Outcome, place, undergo

DISK_MEBIBYTES = {"sqlite": 64, "postgresql": 384}


async def _suffer(fleet: Fleet, matrix: Sequence[Fault]) -> list[Outcome]:
    outcomes = []
    for fault in matrix:
        outcomes.append(await undergo(fleet, fault))
        print(report.row(outcomes[-1]), *outcomes[-1].complaints, sep="\n", flush=True)
    return outcomes


async def _under_another_clock(fleet: Fleet) -> list[Outcome]:
    clock = fleet.place.logs / "clock"
    clock.write_text("+0\n")
    await fleet.restart(machine.moved_clock(clock))
    return await _suffer(fleet, faults.UNDER_ANOTHER_CLOCK)


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
async def test_nothing_is_lost_and_nothing_happens_twice_whatever_fails(kind: str) -> None:
    on_a_server = faults.ON_A_SERVER if kind == "postgresql" else ()
    with machine.small_disk(DISK_MEBIBYTES[kind]) as disk, place(kind, disk) as somewhere:
        async with deployed(somewhere) as fleet:
            outcomes = await _suffer(fleet, (*faults.MATRIX, *on_a_server, *faults.ON_A_SMALL_DISK))
            outcomes += await _under_another_clock(fleet)
    report.write(kind, outcomes)
    assert [complaint for outcome in outcomes for complaint in outcome.complaints] == []
