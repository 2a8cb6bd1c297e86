"""What the service refuses to do, as exceptions that one renderer turns into the error envelope.

A `Refusal` is an expected answer, not a crash: it carries the HTTP status, a stable `code` for programs and one
sentence for people. No text of a refusal ever holds a value that came with the request.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with a request.

    `path` is a JSON Pointer into the body, or the name of a parameter; `code` is stable.
    """

    path: str
    message: str
    code: str

    def as_json(self) -> dict[str, str]:
        return {"path": self.path, "message": self.message, "code": self.code}


@dataclass(slots=True, eq=False)
class Refusal(Exception):
    """A request that is answered with an error; subclasses fix status and message."""

    error: str
    code: str
    details: Sequence[Problem] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    data: Mapping[str, object] | None = None

    status: ClassVar[int]
    message: ClassVar[str]


class Invalid(Refusal):
    """The request breaks the contract or a business rule; names every problem found."""

    status, message = 400, "Invalid request"

    @classmethod
    def because(cls, problems: Sequence[Problem]) -> "Invalid":
        return cls(problems[0].message, "invalid_request", details=problems)


class Unauthorized(Refusal):
    """Nobody we know asks."""

    status, message = 401, "Unauthorized"


class Forbidden(Refusal):
    """Somebody we know asks for what is not theirs."""

    status, message = 403, "Forbidden"


class NotFound(Refusal):
    """There is no such thing, or it is another organization's: the answers are alike on purpose."""

    status, message = 404, "Not found"


class MethodNotAllowed(Refusal):
    """The path exists, the method does not."""

    status, message = 405, "Method not allowed"


class RequestTimeout(Refusal):
    """The body stopped coming."""

    status, message = 408, "Request timeout"


class Conflict(Refusal):
    """The request does not fit the state of things."""

    status, message = 409, "Conflict"


class PayloadTooLarge(Refusal):
    """The body is larger than the contract takes."""

    status, message = 413, "Payload too large"


class UnsupportedMediaType(Refusal):
    """The body is not JSON."""

    status, message = 415, "Unsupported media type"


class TooManyRequests(Refusal):
    """Somebody asks more often than agreed."""

    status, message = 429, "Too many requests"


class InternalError(Refusal):
    """The service failed."""

    status, message = 500, "Internal server error"


class Unavailable(Refusal):
    """Nothing can be stored right now; the same request may succeed a moment later."""

    status, message = 503, "Service unavailable"


def describe(error: BaseException) -> str:
    """An error's type, and the database's code if one of its causes has it; never a text, which may hold values."""
    codes = (code for cause in _causes(error) if (code := _database_code(cause)))
    return " ".join([type(error).__name__, *islice(codes, 1)])


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error, its cause, the cause of that ..."""
    while error is not None:
        yield error
        error = error.__cause__


def _database_code(error: BaseException) -> str | None:
    """PostgreSQL's SQLSTATE or SQLite's name of the error, which the driver tells."""
    origin = getattr(error, "orig", None) or error
    code: str | None = getattr(origin, "sqlstate", None) or getattr(origin, "sqlite_errorname", None)
    return code


def where(error: BaseException) -> str:
    """Where an error arose, innermost last, as file:line without any text."""
    frames = []
    trace = error.__traceback__
    while trace is not None:
        frames.append(f"{trace.tb_frame.f_code.co_filename.rpartition('/')[2]}:{trace.tb_lineno}")
        trace = trace.tb_next
    return " > ".join(frames[-6:])


def not_found(what: str) -> NotFound:
    """The one answer for a resource that is missing or another organization's."""
    return NotFound(f"{what} not found", "not_found")


def unavailable() -> Unavailable:
    return Unavailable("The service cannot take the request right now", "unavailable", headers={"Retry-After": "1"})
