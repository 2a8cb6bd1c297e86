"""Each oracle proves itself: with the bug that it guards against, the run fails on that very oracle."""

from pathlib import Path

import pytest

from tests.faults.faults import Fault, nothing
from tests.faults.fleet import deployed
from tests.faults.front import broken, cut_off
from tests.faults.partners import pharmacy, receiver_slow_while_asked_again
from tests.faults.processes import api_killed_at_an_answer, killed
from tests.faults.run import place, undergo

SETTLED_WITHIN_SECONDS = 6

PROOFS = (
    ("O1", "acknowledge-before-commit", Fault("API killed", api_killed_at_an_answer)),
    ("O2", "ignore-idempotency-keys", Fault("nothing", nothing)),
    ("O3", "write-events-in-a-transaction-of-their-own", Fault("nothing", nothing)),
    ("O4", "call-webhooks-sent-before-they-are", Fault("worker killed", killed("worker", seconds=4))),
    ("O4", "let-whoever-comes-late-end-a-job", Fault("asked again", receiver_slow_while_asked_again)),
    ("O5", "give-the-pharmacy-a-new-key-each-time", Fault("cut off", pharmacy("/orders", cut_off), ("drug-silent",))),
    ("O6", "call-documents-stored-before-they-are", Fault("worker killed", killed("worker", seconds=4))),
    ("O7", "forget-audit-entries", Fault("nothing", nothing)),
    ("O8", "bury-whatever-fails-once", Fault("pharmacy broken", pharmacy("/orders", broken))),
    ("O10", "log-the-patient", Fault("nothing", nothing)),
)


@pytest.mark.parametrize(("oracle", "bug", "fault"), PROOFS, ids=[bug for _, bug, _ in PROOFS])
async def test_a_run_fails_on_the_oracle_that_guards_against_the_bug_in_it(
    oracle: str, bug: str, fault: Fault, tmp_path: Path
) -> None:
    with place("sqlite", tmp_path) as somewhere:
        async with deployed(somewhere, apis=1, workers=1, bug=bug) as fleet:
            outcome = await undergo(fleet, fault, SETTLED_WITHIN_SECONDS)
    assert outcome.times > 0
    assert outcome.verdicts[oracle], outcome.complaints
