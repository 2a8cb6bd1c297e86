"""The shape of every answer: `{status, success, message, data}` or `{status, success, message, error, ...}`."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from case_orders.errors import Refusal

JSON = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a handler answers: an HTTP status with the envelope of a success."""

    status: int
    message: str
    data: JSON | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    def envelope(self) -> JSON:
        body: JSON = {"status": self.status, "success": self.status < 400, "message": self.message}
        return body if self.data is None else body | {"data": self.data}


@dataclass(frozen=True, slots=True)
class Download:
    """A file that a handler answers: its name, media type, size in bytes, and how to read it."""

    file_name: str
    content_type: str
    size: int
    read: Callable[[], Awaitable[bytes]]


def ok(message: str = "OK", **data: Any) -> Answer:
    """200 with `data` holding what is given."""
    return Answer(200, message, data)


def created(message: str, path: str, **data: Any) -> Answer:
    """201 with the new resource, which lies at `path` below the base path."""
    return Answer(201, message, data, {"Location": f"/api/v1{path}"})


def accepted(message: str, **data: Any) -> Answer:
    """202: taken, and to be done."""
    return Answer(202, message, data or None)


def no_content() -> Answer:
    """204 without a body."""
    return Answer(204, "No content")


def page(name: str, rows: Sequence[JSON], next_cursor: str | None) -> Answer:
    """200 with one page of a list, and where the next one starts while there is one."""
    return Answer(200, "OK", {name: list(rows)} | without_none(nextCursor=next_cursor))


def failure(refusal: Refusal, request_id: str) -> JSON:
    """The envelope of an error."""
    body: JSON = {
        "status": refusal.status,
        "success": False,
        "message": refusal.message,
        "error": refusal.error,
        "code": refusal.code,
        "requestId": request_id,
    }
    details = [problem.as_json() for problem in refusal.details] or None
    return body | without_none(details=details, data=refusal.data)


def without_none(**fields: Any) -> JSON:
    """An object in which what is not known is left out: optional fields are absent, never null."""
    return {name: value for name, value in fields.items() if value is not None}
