"""The whole matrix: every fault, on a deployment of two APIs and two workers, on either database."""

import shutil

import pytest

from tests.faults import machine, matrix, report
from tests.faults.fleet import Fleet, deployed
from tests.faults.run import Outcome, place, undergo

DISK_MEBIBYTES = {"sqlite": 64, "postgresql": 384}


async def _suffer(fleet: Fleet, kind: str) -> list[Outcome]:
    """Everything; the clock comes last, since nothing is as before when it has been wrong."""
    outcomes = []
    on_a_server = matrix.ON_A_SERVER if kind == "postgresql" else ()
    for fault in (*matrix.ANYWHERE, *on_a_server, *matrix.ON_A_SMALL_DISK, *matrix.UNDER_ANOTHER_CLOCK):
        if fault is matrix.UNDER_ANOTHER_CLOCK[0]:
            await _let_the_clock_be_moved(fleet)
        outcomes.append(await undergo(fleet, fault))
        report.write(kind, outcomes)
    return outcomes


async def _let_the_clock_be_moved(fleet: Fleet) -> None:
    (fleet.place.logs / "clock").write_text("+0\n")
    await fleet.restart(machine.moved_clock(fleet.place.logs / "clock"))


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
async def test_nothing_is_lost_and_nothing_happens_twice_whatever_fails(kind: str) -> None:
    folder = report.PAGE.parent / "faults" / kind
    shutil.rmtree(folder, ignore_errors=True)
    with machine.small_disk(DISK_MEBIBYTES[kind]) as disk, place(kind, folder, disk) as somewhere:
        async with deployed(somewhere) as fleet:
            outcomes = await _suffer(fleet, kind)
    assert [complaint for outcome in outcomes for complaint in outcome.complaints] == []
