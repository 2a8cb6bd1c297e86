"""The short form of the matrix, and a cheap proof that each oracle notices what it guards against."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from case_orders.db import new_id
from models import Job
from models.jobs import JobKind, JobState
from tests.faults.faults import Fault, together
from tests.faults.fleet import deployed
from tests.faults.front import cut_off
from tests.faults.oracles import ORACLES, Evidence
from tests.faults.partners import pharmacy
from tests.faults.processes import killed
from tests.faults.run import place, undergo
from tests.support.needles import MARK

SECONDS = 3
FAULT = Fault(
    "killed -9 while the pharmacy cuts its answers",
    together(killed("api", "worker", seconds=SECONDS), pharmacy("/orders", cut_off, seconds=SECONDS)),
)


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
async def test_killed_while_the_pharmacy_cuts_its_answers_nothing_is_lost_and_nothing_happens_twice(
    kind: str, tmp_path: Path
) -> None:
    with place(kind, tmp_path) as somewhere:
        async with deployed(somewhere, apis=1) as fleet:
            outcome = await undergo(fleet, FAULT)
            assert outcome.orders > 0
            assert outcome.complaints == []
            evidence = await Evidence.of(fleet)
            for oracle, tamper in TAMPERED.items():
                assert list(ORACLES[oracle](tamper(evidence))), oracle


# ---- evidence of what must not be --------------------------------------------------------------------------------


def _lose_an_order(evidence: Evidence) -> Evidence:
    return replace(evidence, orders=dict(list(evidence.orders.items())[1:]))


def _place_an_order_twice(evidence: Evidence) -> Evidence:
    order = next(iter(evidence.orders.values()))
    return replace(evidence, orders={**evidence.orders, new_id(): order})


def _lose_an_event(evidence: Evidence) -> Evidence:
    order_id, events = next(iter(evidence.events.items()))
    return replace(evidence, events={**evidence.events, order_id: events[1:]})


def _receive_nothing_of_an_order(evidence: Evidence) -> Evidence:
    for event in next(iter(evidence.events.values())):
        evidence.fleet.receivers[0].arrivals.pop(event.id)
    return evidence


def _fill_an_order_twice(evidence: Evidence) -> Evidence:
    order_id, entry = next(iter(evidence.book.items()))
    return replace(evidence, book={**evidence.book, order_id: {**entry, "fills": 2}})


def _lose_an_object(evidence: Evidence) -> Evidence:
    return replace(evidence, objects=dict(list(evidence.objects.items())[1:]))


def _lose_the_audit_trail(evidence: Evidence) -> Evidence:
    return replace(evidence, entries=[])


def _bury_a_job(evidence: Evidence) -> Evidence:
    organization_id = evidence.fleet.tenant.organization_id
    job = Job(organization_id=organization_id, kind=JobKind.SUBMIT_ORDER, subject=new_id(), state=JobState.DEAD)
    return replace(evidence, jobs=[*evidence.jobs, job])


def _damage_the_database(evidence: Evidence) -> Evidence:
    return replace(evidence, damage=["a page is torn"])


def _log_a_needle(evidence: Evidence) -> Evidence:
    with evidence.fleet.workers[0].log.open("a") as log:
        log.write(f"{MARK}\n")
    return evidence


TAMPERED: Mapping[str, Callable[[Evidence], Evidence]] = {
    "O1": _lose_an_order,
    "O2": _place_an_order_twice,
    "O3": _lose_an_event,
    "O4": _receive_nothing_of_an_order,
    "O5": _fill_an_order_twice,
    "O6": _lose_an_object,
    "O7": _lose_the_audit_trail,
    "O8": _bury_a_job,
    "O9": _damage_the_database,
    "O10": _log_a_needle,
}


def test_every_oracle_is_proven() -> None:
    assert TAMPERED.keys() == ORACLES.keys()
