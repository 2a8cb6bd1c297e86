"""What a pharmacy can be asked, and what it can answer. See docs/pharmacy-protocol.md."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Accepted:
    """The pharmacy took the order and calls it `reference`."""

    reference: str


@dataclass(frozen=True)
class Refused:
    """The pharmacy will never take the order."""

    reason: str


@dataclass(frozen=True)
class Granted:
    """The order is canceled."""

    reason: str | None = None


@dataclass(frozen=True)
class Denied:
    """The order is not canceled and goes on."""

    reason: str | None = None


@dataclass(frozen=True)
class Undecided:
    """The pharmacy will report its decision."""


@dataclass(frozen=True)
class NotKnown:
    """The pharmacy has no such order."""


CancellationAnswer = Granted | Denied | Undecided | NotKnown


class PharmacyError(Exception):
    """A call that brought no answer; `reason` carries no value and `retry_after` is in seconds."""

    def __init__(self, reason: str, retry_after: float | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retry_after = retry_after


class PharmacyUnavailable(PharmacyError):
    """Out of reach, too slow, too busy or not letting us in: worth another try."""


class PharmacyMisbehaved(PharmacyError):
    """The answer is not one of the protocol: worth another try, and worth a look."""


class PharmacyConflict(PharmacyError):
    """The pharmacy has another order under this id: not worth another try."""


def callback_url(public_url: str, connection_id: str) -> str:
    """Where the pharmacy of a connection sends its reports."""
    return f"{public_url.rstrip('/')}/api/v1/pharmacy-connections/{connection_id}/events"
