"""How the sandbox pharmacy treats an order, chosen by the drug that is ordered."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any


class Cancels(Enum):
    """What becomes of a cancel request for an order that is not shipped yet."""

    GRANTED = auto()
    DENIED = auto()
    DECIDED_LATER = auto()


class Paper(Enum):
    """What is wrong with the prescription document."""

    GOOD = auto()
    NONE = auto()
    NOT_A_PDF = auto()
    TRUNCATED = auto()
    WRONG_CHECKSUM = auto()


@dataclass(frozen=True)
class Step:
    """The state that an order comes to, `paces` after the one before, and what is reported with it."""

    status: str
    paces: int = 1
    fields: Mapping[str, str] = field(default_factory=dict)


ACKNOWLEDGED, FILLING, READY, COMPLETED = (Step(s) for s in ("ACKNOWLEDGED", "FILLING", "READY", "COMPLETED"))
SHIPPED = Step("SHIPPED", fields={"trackingNumber": "1Z999AA10123456784", "carrier": "UPS"})
REJECTED = Step("REJECTED", fields={"reason": "The prescription cannot be filled"})
ON_HOLD = Step("ON_HOLD", fields={"reason": "Prior authorization needed"})
FILLING_AFTER_HOLD = Step("FILLING", paces=4)


@dataclass(frozen=True)
class Behaviour:
    """One way to treat an order; the defaults are those of a pharmacy without fault.

    The first `unavailable` submits get 503, the first `garbled` ones an answer that is not JSON; none of them takes
    effect. The submit that takes effect is answered after `answer_paces`, or not at all if it is `cut_off`.
    """

    steps: tuple[Step, ...] = (ACKNOWLEDGED, FILLING, READY, SHIPPED, COMPLETED)
    refusal: str | None = None
    unavailable: int = 0
    garbled: int = 0
    answer_paces: int = 0
    cut_off: bool = False
    silent: bool = False
    repeats_reports: bool = False
    reported_late: frozenset[str] = frozenset()
    cancels: Cancels = Cancels.GRANTED
    paper: Paper = Paper.GOOD


NORMAL = Behaviour()

BEHAVIOURS: Mapping[str, Behaviour] = {
    "drug-reject": Behaviour(steps=(REJECTED,)),
    "drug-refuse": Behaviour(refusal="The pharmacy does not stock this drug"),
    "drug-hold": Behaviour(steps=(ACKNOWLEDGED, ON_HOLD, FILLING_AFTER_HOLD, READY, SHIPPED, COMPLETED)),
    "drug-slow": Behaviour(answer_paces=10),
    "drug-flaky": Behaviour(unavailable=2),
    "drug-timeout-after-accept": Behaviour(cut_off=True),
    "drug-duplicate-reports": Behaviour(repeats_reports=True),
    "drug-out-of-order": Behaviour(reported_late=frozenset({"FILLING", "READY"})),
    "drug-silent": Behaviour(silent=True),
    "drug-deny-cancel": Behaviour(cancels=Cancels.DENIED),
    "drug-slow-cancel": Behaviour(cancels=Cancels.DECIDED_LATER),
    "drug-bad-document": Behaviour(paper=Paper.NOT_A_PDF),
    "drug-truncated-document": Behaviour(paper=Paper.TRUNCATED),
    "drug-wrong-checksum": Behaviour(paper=Paper.WRONG_CHECKSUM),
    "drug-no-document": Behaviour(paper=Paper.NONE),
    "drug-garbage": Behaviour(garbled=3),
    "drug-skip": Behaviour(steps=(ACKNOWLEDGED, SHIPPED, COMPLETED)),
}

# `drug-slow-cancel-10mg` begins with `drug-slow` too: the longer name is meant.
_LONGEST_FIRST = sorted(BEHAVIOURS, key=len, reverse=True)


def behaviour_of(order: Mapping[str, Any]) -> Behaviour:
    """The behaviour that the first item naming one asks for."""
    for item in order["items"]:
        for name in _LONGEST_FIRST:
            if item["drugId"].startswith(name):
                return BEHAVIOURS[name]
    return NORMAL
