"""Why a call did not bring an answer."""


class OutboundError(Exception):
    """A call that failed.

    `reason` is short English without an address, a URL or any other value, fit for a customer's delivery log.
    `status` is the HTTP status where an answer had begun before the call failed, else None.
    """

    def __init__(self, reason: str, status: int | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.status = status


class Blocked(OutboundError):
    """The URL is not one that this service calls; another try cannot help."""


class Unreachable(OutboundError):
    """No connection came about, or it broke before an answer."""


class TimedOut(OutboundError):
    """The whole call took longer than it was given."""


class TooLarge(OutboundError):
    """The answer's body is longer than the caller takes."""


class BadAnswer(OutboundError):
    """The answer is broken, cut short or compressed."""
