"""The page that a run leaves: reports/faults.md, one table for each database."""

from collections.abc import Sequence
from pathlib import Path

from tests.faults.oracles import ORACLES
from tests.faults.run import Outcome

PAGE = Path(__file__).parents[2] / "reports" / "faults.md"
_TITLE = "# What was done to case-orders, and what came of it\n"


def write(kind: str, outcomes: Sequence[Outcome]) -> None:
    """Put the table of this database into the page, in the place of an earlier one."""
    PAGE.parent.mkdir(exist_ok=True)
    sections = PAGE.read_text().split("\n## ")[1:] if PAGE.exists() else []
    others = [section.rstrip() for section in sections if not section.startswith((kind, "The oracles"))]
    PAGE.write_text("\n\n## ".join([_TITLE.rstrip(), *sorted([*others, _section(kind, outcomes)]), _legend()]) + "\n")


def row(outcome: Outcome) -> str:
    verdicts = " | ".join("no" if words else "yes" for words in outcome.verdicts.values())
    return (
        f"| {outcome.fault} | {outcome.times} | {outcome.requests} | {outcome.orders} "
        f"| {outcome.seconds:.0f} | {'no' if outcome.reaction else 'yes'} | {verdicts} |"
    )


def _section(kind: str, outcomes: Sequence[Outcome]) -> str:
    names = " | ".join(ORACLES)
    head = [f"| Fault | Times | Requests | Orders | Seconds | Met | {names} |", "|---" * (6 + len(ORACLES)) + "|"]
    complaints = [f"- {complaint}" for outcome in outcomes for complaint in outcome.complaints]
    lines = [kind, *head, *(row(outcome) for outcome in outcomes), "", *complaints]
    return "\n".join(lines).rstrip()


def _legend() -> str:
    meanings = [f"- {name}: {oracle.__name__.replace('_', ' ')}" for name, oracle in ORACLES.items()]
    met = "- Met: the fault struck, and the deployment did under it what it should"
    return "\n".join(["The oracles", met, *meanings])
