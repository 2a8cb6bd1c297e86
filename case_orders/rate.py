"""A rate as an operator writes it: so many in so much time."""

import re
from dataclasses import dataclass

_FORM = re.compile(r"([1-9][0-9]*) ?/ ?(?:([1-9][0-9]*) ?)?(second|minute|hour|day)s?", re.ASCII)
_SECONDS = {"second": 1, "minute": 60, "hour": 3600, "day": 86_400}


@dataclass(frozen=True, slots=True)
class Rate:
    """At most `amount` in each window of `seconds`."""

    amount: int
    seconds: int

    @classmethod
    def parse(cls, text: str) -> "Rate | None":
        """`600/minute` or `6000/10 seconds`; None for an empty text, which sets no rate. Raises ValueError."""
        if not text:
            return None
        written = _FORM.fullmatch(text)
        if written is None:
            raise ValueError("it must be written like 600/minute or 6000/10 seconds")
        amount, units, unit = written.groups()
        return cls(int(amount), int(units or 1) * _SECONDS[unit])
