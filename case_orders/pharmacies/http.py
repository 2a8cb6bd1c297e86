"""A pharmacy that is reached over HTTP by the pharmacy protocol."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import orjson
from yarl import URL

from case_orders.edge.contract import component
from case_orders.outbound import BadAnswer, Blocked, Outbound, OutboundError, Reply, TimedOut, TooLarge
from case_orders.pharmacies.protocol import (
    Accepted,
    CancellationAnswer,
    Denied,
    Granted,
    NotKnown,
    PharmacyConflict,
    PharmacyMisbehaved,
    PharmacyUnavailable,
    Refused,
    Undecided,
)
from case_orders.pharmacies.signing import sign_request

MAX_ANSWER_BYTES = 256 * 1024


@dataclass(frozen=True)
class HttpPharmacy:
    """One pharmacy, as the connection of one organization sees it. Every call may raise `PharmacyError`.

    The client is given: whoever makes it decides which addresses may be reached.
    """

    base_url: str
    request_secret: str = field(repr=False)
    outbound: Outbound
    total_seconds: float = 20

    async def submit(self, order: Mapping[str, Any]) -> Accepted | Refused:
        """Hand over an order in the protocol's shape; safe to repeat with the same order."""
        answer = await self._call("POST", "/orders", order, key=order["orderId"])
        match answer.status:
            case 200 | 202:
                return Accepted(_member(answer, "reference", "Line"))
            case 422:
                return Refused(_member(answer, "reason", "Reason"))
            case 409:
                raise PharmacyConflict("the pharmacy has another order under this id")
        raise _unexpected(answer)

    async def look_up(self, order_id: str) -> dict[str, Any] | None:
        """What the pharmacy has to say of the order, a `PharmacyReport`; None when it has no such order."""
        answer = await self._call("GET", f"/orders/{order_id}")
        match answer.status:
            case 200:
                report = _component(answer, "PharmacyReport")
                if report["orderId"] != order_id:
                    raise PharmacyMisbehaved("the pharmacy answered for another order")
                return report
            case 404:
                return None
        raise _unexpected(answer)

    async def cancel(self, order_id: str, request_id: str) -> CancellationAnswer:
        """Ask for the order to be canceled; safe to repeat with the same `request_id`, another one asks anew."""
        answer = await self._call(
            "POST",
            f"/orders/{order_id}/cancel",
            {"orderId": order_id},
            key=f"cancel-{request_id}",
        )
        match answer.status:
            case 200:
                decision = _component(answer, "CancellationAnswer")
                return (Granted if decision["granted"] else Denied)(decision.get("reason"))
            case 202:
                return Undecided()
            case 404:
                return NotKnown()
        raise _unexpected(answer)

    def document_headers(self, url: str) -> dict[str, str]:
        """The headers to fetch a document with; none unless `url` has the pharmacy's own origin."""
        if not _same_origin(url, self.base_url):
            return {}
        return sign_request(self.request_secret, "GET", url, b"")

    async def _call(
        self,
        method: str,
        path: str,
        content: Mapping[str, Any] | None = None,
        key: str | None = None,
    ) -> Reply:
        url = self.base_url.rstrip("/") + path
        body = b"" if content is None else orjson.dumps(content)
        headers = sign_request(self.request_secret, method, url, body)
        if key is not None:
            headers |= {"Content-Type": "application/json", "Idempotency-Key": key}
        try:
            reply = await self.outbound.request(
                method, url, headers=headers, body=body, total=self.total_seconds, max_bytes=MAX_ANSWER_BYTES
            )
        except OutboundError as error:
            raise _failure(error) from None
        _refuse_failure(reply.status, reply.headers)
        return reply


def _failure(error: OutboundError) -> PharmacyMisbehaved | PharmacyUnavailable:
    """What a call without a whole answer means."""
    match error:
        case Blocked():
            return PharmacyUnavailable(f"the pharmacy is not called: {error.reason}")
        case TimedOut():
            return PharmacyUnavailable("the pharmacy took too long to answer")
        case TooLarge() | BadAnswer() if error.status is not None and error.status < 400:
            return PharmacyMisbehaved(f"the pharmacy's {error.reason}")
    return PharmacyUnavailable("the pharmacy cannot be reached or broke off")


def _same_origin(url: str, other: str) -> bool:
    try:
        return _origin(url) == _origin(other)
    except ValueError:  # a port that does not exist
        return False


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parsed = URL(url)
    return parsed.scheme, parsed.host, parsed.port


def _refuse_failure(status: int, headers: Mapping[str, str]) -> None:
    if status in (401, 403):
        raise PharmacyUnavailable(f"the pharmacy does not let us in ({status})")
    if status == 429 or status >= 500:
        raise PharmacyUnavailable(f"the pharmacy answered {status}", _retry_after(headers))


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait, RFC 9110 section 10.2.3: a number of seconds or a date; None when absent or garbage."""
    text = headers.get("Retry-After", "").strip()
    if text.isascii() and text.isdigit() and len(text) < 10:
        return float(text)
    try:
        seconds = (parsedate_to_datetime(text).astimezone(UTC) - datetime.now(UTC)).total_seconds()
    except (ValueError, OverflowError):
        return None
    return max(0.0, seconds)


def _object(answer: Reply) -> dict[str, Any]:
    try:
        # orjson refuses NaN, lone surrogates and bottomless nesting; it takes a name twice, which could turn
        # a denial into an approval.
        orjson.loads(answer.body)
        value = json.loads(answer.body, object_pairs_hook=_unique_members)
    except ValueError:
        raise PharmacyMisbehaved("the answer is not JSON") from None
    if not isinstance(value, dict):
        raise PharmacyMisbehaved("the answer is not a JSON object")
    return value


def _unique_members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a name occurs twice")
    return members


def _component(answer: Reply, schema: str) -> dict[str, Any]:
    value = _object(answer)
    if component(schema).problems(value):
        raise PharmacyMisbehaved(f"the answer is not a {schema}")
    return value


def _member(answer: Reply, name: str, schema: str) -> str:
    value = _object(answer).get(name)
    if not isinstance(value, str) or component(schema).problems(value):
        raise PharmacyMisbehaved(f"the answer has no valid {name}")
    return value


def _unexpected(answer: Reply) -> PharmacyMisbehaved:
    return PharmacyMisbehaved(f"the pharmacy answered {answer.status}")
