"""What came of one look."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Outcome:
    """`findings` are what is wrong; `not_checked` says why nothing could be found, which is not the same as nothing."""

    name: str
    findings: Sequence[str] = ()
    not_checked: str | None = None

    def __str__(self) -> str:
        verdict = "NOT CHECKED" if self.not_checked else "FAILED" if self.findings else "ok"
        reason = f": {self.not_checked}" if self.not_checked else ""
        return "\n".join([f"{verdict:12}{self.name}{reason}", *(f"{'':12}- {finding}" for finding in self.findings)])
