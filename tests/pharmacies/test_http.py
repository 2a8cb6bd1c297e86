"""How HttpPharmacy takes answers that no sandbox would give: a scripted server gives them."""

import asyncio
import contextlib
import gzip
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from aiohttp import web

from case_orders.outbound import Outbound
from case_orders.pharmacies.http import MAX_ANSWER_BYTES, HttpPharmacy
from case_orders.pharmacies.protocol import (
    Accepted,
    Denied,
    Granted,
    NotKnown,
    PharmacyConflict,
    PharmacyMisbehaved,
    PharmacyUnavailable,
    Refused,
    Undecided,
)
from case_orders.pharmacies.signing import verify_request
from case_orders.signing_secrets import new_secret
from tests.pharmacies.conftest import listening
from tests.pharmacies.orders import order

SECRET = new_secret()
ORDER = order()
ORDER_ID = ORDER["orderId"]
REPORT = {"orderId": ORDER_ID, "occurredAt": "2024-01-15T10:30:00Z", "status": "READY"}


class Scripted:
    """A pharmacy that answers whatever it is told to, and remembers what it was asked."""

    def __init__(self) -> None:
        self.status, self.body, self.headers = 200, b"", dict[str, str]()
        self.asked: list[tuple[str, str, dict[str, str], bytes]] = []

    async def handle(self, request: web.Request) -> web.Response:
        body = await request.read()
        assert verify_request(SECRET, request.headers, request.method, request.raw_path, body)
        self.asked.append((request.method, request.raw_path, dict(request.headers), body))
        return web.Response(status=self.status, body=self.body, headers=self.headers)

    def answers(self, status: int, content: Any = b"", **headers: str) -> None:
        self.status, self.headers = (
            status,
            {name.replace("_", "-"): value for name, value in headers.items()},
        )
        self.body = content if isinstance(content, bytes) else json.dumps(content).encode()


@pytest.fixture
def scripted() -> Scripted:
    return Scripted()


@pytest.fixture
async def pharmacy(scripted: Scripted, outbound: Outbound) -> AsyncIterator[HttpPharmacy]:
    app = web.Application()
    app.add_routes([web.route("*", "/{path:.*}", scripted.handle)])
    async with listening(app) as url:
        yield HttpPharmacy(f"{url}/base/", SECRET, outbound)


async def test_an_order_is_posted_signed_and_under_its_own_key(pharmacy: HttpPharmacy, scripted: Scripted) -> None:
    scripted.answers(200, {"reference": "RX-1"})
    sent = ORDER | {"items": [{"customFields": {"big": 2**63 - 1, "name": "Ünïcode"}}]}
    assert await pharmacy.submit(sent) == Accepted("RX-1")
    ((method, path, headers, body),) = scripted.asked
    assert (method, path, json.loads(body)) == ("POST", "/base/orders", sent)
    assert headers["Idempotency-Key"] == ORDER_ID
    assert headers["Content-Type"] == "application/json"
    assert headers["Accept-Encoding"] == "identity"


async def test_an_order_may_be_refused_for_good(pharmacy: HttpPharmacy, scripted: Scripted) -> None:
    scripted.answers(422, {"reason": "Not stocked"})
    assert await pharmacy.submit(ORDER) == Refused("Not stocked")


async def test_another_order_under_the_same_id_is_a_conflict(pharmacy: HttpPharmacy, scripted: Scripted) -> None:
    scripted.answers(409)
    with pytest.raises(PharmacyConflict):
        await pharmacy.submit(ORDER)


async def test_a_look_up_answers_the_report(pharmacy: HttpPharmacy, scripted: Scripted) -> None:
    scripted.answers(200, REPORT)
    assert await pharmacy.look_up(ORDER_ID) == REPORT
    ((method, path, _, body),) = scripted.asked
    assert (method, path, body) == ("GET", f"/base/orders/{ORDER_ID}", b"")


async def test_an_order_that_is_not_there_is_none_and_cannot_be_canceled(
    pharmacy: HttpPharmacy, scripted: Scripted
) -> None:
    scripted.answers(404)
    assert await pharmacy.look_up(ORDER_ID) is None
    assert await pharmacy.cancel(ORDER_ID, "request-1") == NotKnown()


@pytest.mark.parametrize(
    ("status", "content", "answer"),
    [
        (200, {"granted": True}, Granted()),
        (200, {"granted": False, "reason": "Too late"}, Denied("Too late")),
        (200, {"granted": False}, Denied()),
        (202, {}, Undecided()),
    ],
)
async def test_a_cancel_is_granted_denied_or_undecided(
    pharmacy: HttpPharmacy,
    scripted: Scripted,
    status: int,
    content: Any,
    answer: object,
) -> None:
    scripted.answers(status, content)
    assert await pharmacy.cancel(ORDER_ID, "request-1") == answer
    ((method, path, headers, body),) = scripted.asked
    assert (method, path) == ("POST", f"/base/orders/{ORDER_ID}/cancel")
    assert headers["Idempotency-Key"] == "cancel-request-1"
    assert json.loads(body) == {"orderId": ORDER_ID}


@pytest.mark.parametrize("status", [401, 403, 429, 500, 502, 503])
async def test_a_pharmacy_that_is_busy_or_shut_is_unavailable(
    pharmacy: HttpPharmacy, scripted: Scripted, status: int
) -> None:
    scripted.answers(status, {"reference": "RX-1", "granted": True} | REPORT)
    for call in (
        pharmacy.submit(ORDER),
        pharmacy.look_up(ORDER_ID),
        pharmacy.cancel(ORDER_ID, "request-1"),
    ):
        with pytest.raises(PharmacyUnavailable):
            await call


@pytest.mark.parametrize("status", [201, 204, 302, 307, 400, 405, 410])
async def test_a_status_that_the_protocol_lacks_is_no_success(
    pharmacy: HttpPharmacy, scripted: Scripted, status: int
) -> None:
    scripted.answers(status, b"", Location="/elsewhere")
    for call in (
        pharmacy.submit(ORDER),
        pharmacy.look_up(ORDER_ID),
        pharmacy.cancel(ORDER_ID, "request-1"),
    ):
        with pytest.raises(PharmacyMisbehaved, match=str(status)):
            await call
    assert [path for _, path, _, _ in scripted.asked if "elsewhere" in path] == []


GARBAGE = [
    b"",
    b"<html>",
    b"\xff",
    b"null",
    b"[]",
    b'"RX-1"',
    b"{}",
    b"[" * 100_000,
    b'{"reference": 1}',
    b'{"reference": ""}',
    b'{"reference": null}',
    b'{"reference": "a\\u0000b"}',
    b'{"reference": "\\ud800"}',
    b'{"reference": "RX-1", "n": NaN}',
    b'{"reference": "RX-1", "reference": "RX-2"}',
    b'{"granted": false, "granted": true}',
    b'{"granted": "true"}',
    b'{"granted": 1}',
    b'{"granted": true, "secret": 1}',
]


@pytest.mark.parametrize("body", GARBAGE, ids=range(len(GARBAGE)))
async def test_a_garbage_answer_is_no_answer(pharmacy: HttpPharmacy, scripted: Scripted, body: bytes) -> None:
    scripted.answers(200, body)
    for call in (
        pharmacy.submit(ORDER),
        pharmacy.look_up(ORDER_ID),
        pharmacy.cancel(ORDER_ID, "request-1"),
    ):
        with pytest.raises(PharmacyMisbehaved):
            await call


async def test_a_refusal_without_a_reason_is_not_taken_for_final(pharmacy: HttpPharmacy, scripted: Scripted) -> None:
    scripted.answers(422, {})
    with pytest.raises(PharmacyMisbehaved):
        await pharmacy.submit(ORDER)


@pytest.mark.parametrize(
    "change",
    [
        {"orderId": "00000000-0000-0000-0000-000000000000"},
        {"status": "SUBMITTED"},
        {"occurredAt": "yesterday"},
        {"surprise": True},
        {"documents": []},
        {"cancellation": {"granted": "yes"}},
    ],
)
async def test_a_report_that_breaks_the_contract_is_no_answer(
    pharmacy: HttpPharmacy, scripted: Scripted, change: dict[str, Any]
) -> None:
    scripted.answers(200, REPORT | change)
    with pytest.raises(PharmacyMisbehaved):
        await pharmacy.look_up(ORDER_ID)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7),
        ("0", 0),
        ("soon", None),
        ("-1", None),
        ("1.5", None),
        ("\u0663", None),
        ("9" * 50, None),
        ("", None),
        ("Mon, 15 Jan 2024 10:30:00 GMT", 0),
    ],
)
async def test_retry_after_is_honoured_if_it_makes_sense(
    pharmacy: HttpPharmacy, scripted: Scripted, value: str, seconds: float | None
) -> None:
    scripted.answers(503, b"", Retry_After=value)
    with pytest.raises(PharmacyUnavailable) as caught:
        await pharmacy.submit(ORDER)
    assert caught.value.retry_after == seconds


async def test_retry_after_may_be_a_date(pharmacy: HttpPharmacy, scripted: Scripted) -> None:
    scripted.answers(
        429,
        b"",
        Retry_After=format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True),
    )
    with pytest.raises(PharmacyUnavailable) as caught:
        await pharmacy.submit(ORDER)
    assert caught.value.retry_after == pytest.approx(60, abs=2)


async def test_an_answer_that_is_too_large_is_cut(pharmacy: HttpPharmacy, scripted: Scripted) -> None:
    scripted.answers(200, b'{"reference": "RX-1"}' + b" " * MAX_ANSWER_BYTES)
    with pytest.raises(PharmacyMisbehaved, match="larger"):
        await pharmacy.submit(ORDER)


async def test_a_compressed_answer_is_not_read(pharmacy: HttpPharmacy, scripted: Scripted) -> None:
    scripted.answers(200, gzip.compress(b'{"reference": "RX-1"}'), Content_Encoding="gzip")
    with pytest.raises(PharmacyMisbehaved, match="compressed"):
        await pharmacy.submit(ORDER)


async def test_a_pharmacy_that_is_not_there_is_unavailable(
    outbound: Outbound,
) -> None:
    async with listening(web.Application()) as url:
        pass
    with pytest.raises(PharmacyUnavailable):
        await HttpPharmacy(url, SECRET, outbound).submit(ORDER)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("https://10.0.0.1/", "the pharmacy is not called: address is not public"),
        ("http://pharmacy.example/", "the pharmacy is not called: https is required"),
    ],
)
async def test_a_pharmacy_at_an_address_that_is_not_called_is_unavailable_and_says_why(
    outbound: Outbound, url: str, reason: str
) -> None:
    with pytest.raises(PharmacyUnavailable) as caught:
        await HttpPharmacy(url, SECRET, outbound).look_up(ORDER_ID)
    assert caught.value.reason == reason


async def test_a_failure_with_an_endless_body_is_still_a_failure(pharmacy: HttpPharmacy, scripted: Scripted) -> None:
    scripted.answers(503, b" " * (MAX_ANSWER_BYTES + 1))
    with pytest.raises(PharmacyUnavailable):
        await pharmacy.submit(ORDER)


async def test_a_dripping_answer_is_cut_off_in_time(
    outbound: Outbound,
) -> None:
    async def drip(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        with contextlib.suppress(ConnectionError):
            while True:
                await answer.write(b" ")
                await asyncio.sleep(0.02)
        return answer

    app = web.Application()
    app.add_routes([web.post("/orders", drip)])
    async with listening(app) as url:
        with pytest.raises(PharmacyUnavailable, match="too long"):
            await HttpPharmacy(url, SECRET, outbound, total_seconds=0.2).submit(ORDER)


async def test_a_failure_never_repeats_a_value(pharmacy: HttpPharmacy, scripted: Scripted) -> None:
    scripted.answers(200, REPORT | {"status": "Jane Doe"})
    with pytest.raises(PharmacyMisbehaved) as caught:
        await pharmacy.look_up(ORDER_ID)
    assert str(caught.value) == caught.value.reason == "the answer is not a PharmacyReport"
    assert SECRET not in repr(pharmacy)


@pytest.mark.parametrize(
    ("url", "signed"),
    [
        ("https://pharmacy.example/v1/documents/1?x=2", True),
        ("https://pharmacy.example:443/elsewhere", True),
        ("https://PHARMACY.example/v1", True),
        ("http://pharmacy.example/v1", False),
        ("https://pharmacy.example:8443/v1", False),
        ("https://pharmacy.example.evil.test/v1", False),
        ("https://pharmacy.example:99999/v1", False),
    ],
)
async def test_a_document_is_fetched_signed_from_the_pharmacys_own_origin_only(
    url: str, signed: bool, outbound: Outbound
) -> None:
    headers = HttpPharmacy("https://pharmacy.example/v1", SECRET, outbound).document_headers(url)
    assert bool(headers) is signed
    if signed:
        assert verify_request(SECRET, headers, "GET", url.split("example", 1)[1].removeprefix(":443"), b"")
