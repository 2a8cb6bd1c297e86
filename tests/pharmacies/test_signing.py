from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from case_orders.pharmacies.signing import (
    sign_report,
    sign_request,
    verify_report,
    verify_request,
)
from case_orders.signing_secrets import new_secret

PAGE = (Path(__file__).parents[2] / "docs" / "pharmacy-protocol.md").read_text()
ORDER = "123e4567-e89b-12d3-a456-426614174001"
MESSAGE, SENT = (
    "0192f7c4-5b1e-7c3a-9d2e-3f4a5b6c7d8e",
    datetime(2024, 1, 15, 10, 30, tzinfo=UTC),
)
REQUEST_SECRET, REPORT_SECRET = (
    "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD",
    "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
)
SECRET = new_secret()
URL, PATH, BODY = (
    "https://pharmacy.example/v1/orders?a=1",
    "/v1/orders?a=1",
    b'{"orderId":"\xc3\xa9"}',
)


def test_the_signed_request_of_the_documentation_is_what_we_send() -> None:
    url, body = (
        f"https://pharmacy.example/v1/orders/{ORDER}/cancel",
        f'{{"orderId":"{ORDER}"}}'.encode(),
    )
    signed = sign_request(REQUEST_SECRET, "POST", url, body, message_id=MESSAGE, at=SENT)
    headers = "\n".join(f"{name}: {value}" for name, value in signed.items())
    assert f"\n{headers}\n\n{body.decode()}\n```" in PAGE
    assert REQUEST_SECRET in PAGE


def test_the_signed_get_of_the_documentation_is_what_we_send() -> None:
    url = f"https://pharmacy.example/v1/orders/{ORDER}"
    signed = sign_request(REQUEST_SECRET, "GET", url, b"", message_id=MESSAGE, at=SENT)
    assert f"`GET /v1/orders/{ORDER}` give `{signed['webhook-signature']}`" in PAGE


def test_the_signed_report_of_the_documentation_is_what_we_expect() -> None:
    body = f'{{"orderId":"{ORDER}","occurredAt":"2024-01-15T10:30:00Z","status":"READY"}}'.encode()
    signed = sign_report(REPORT_SECRET, body, message_id=MESSAGE, at=SENT)
    headers = "\n".join(f"{name}: {value}" for name, value in signed.items())
    assert f"\n{headers}\n\n{body.decode()}\n```" in PAGE
    assert REPORT_SECRET in PAGE


def test_a_signed_request_is_verified() -> None:
    assert verify_request(SECRET, sign_request(SECRET, "post", URL, BODY), "POST", PATH, BODY)


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", PATH, BODY),
        ("POST", "/v1/orders?a=2", BODY),
        ("POST", "/v1/orders", BODY),
        ("POST", PATH, BODY + b" "),
    ],
)
def test_a_signature_cannot_be_moved_to_another_request(method: str, path: str, body: bytes) -> None:
    assert not verify_request(SECRET, sign_request(SECRET, "POST", URL, BODY), method, path, body)


def test_the_line_between_path_and_body_cannot_be_shifted() -> None:
    signed = sign_request(SECRET, "POST", "https://pharmacy.example/a", b"b\nc")
    assert not verify_request(SECRET, signed, "POST", "/a\nb", b"c\n")


def test_a_path_is_signed_as_it_goes_over_the_wire() -> None:
    signed = sign_request(SECRET, "GET", "https://pharmacy.example/caf\u00e9 1?q=\u00e9", b"")
    assert verify_request(SECRET, signed, "GET", "/caf%C3%A9%201?q=%C3%A9", b"")


def test_a_report_with_another_body_is_refused() -> None:
    signed = sign_report(SECRET, BODY)
    assert verify_report(SECRET, signed, BODY)
    assert not verify_report(SECRET, signed, BODY.replace(b"order", b"Order"))


def test_the_signature_of_a_request_is_none_of_a_report() -> None:
    assert not verify_report(SECRET, sign_request(SECRET, "POST", URL, BODY), BODY)


@pytest.mark.parametrize("header", ["webhook-id", "webhook-timestamp", "webhook-signature"])
def test_a_header_cannot_be_changed_or_missing(header: str) -> None:
    signed = sign_report(SECRET, BODY)
    other = sign_report(SECRET, b"other", at=datetime.now(UTC) - timedelta(seconds=9))
    assert not verify_report(SECRET, signed | {header: other[header]}, BODY)
    assert not verify_report(
        SECRET,
        {name: value for name, value in signed.items() if name != header},
        BODY,
    )


@pytest.mark.parametrize(("minutes", "fits"), [(-6, False), (-4, True), (4, True), (6, False)])
def test_a_message_is_good_for_five_minutes(minutes: int, fits: bool) -> None:
    signed = sign_report(SECRET, BODY, at=datetime.now(UTC) + timedelta(minutes=minutes))
    assert verify_report(SECRET, signed, BODY) is fits


def test_header_names_are_case_insensitive() -> None:
    signed = {name.upper(): value for name, value in sign_report(SECRET, BODY).items()}
    assert verify_report(SECRET, signed, BODY)


@pytest.mark.parametrize(
    "garbage",
    [
        "",
        "v1",
        "v1,",
        "v1,\u00e9",
        "v1,!",
        "v1,a",
        "v2,AAAA",
        " ",
        "v1,AAAA,BBBB",
        "\x00",
    ],
)
def test_a_garbage_signature_is_refused_quietly(garbage: str) -> None:
    assert not verify_report(SECRET, sign_report(SECRET, BODY) | {"webhook-signature": garbage}, BODY)


@pytest.mark.parametrize("garbage", ["", "now", "nan", "inf", "-1", "9" * 400, "\u0663"])
def test_a_garbage_timestamp_is_refused_quietly(garbage: str) -> None:
    assert not verify_report(SECRET, sign_report(SECRET, BODY) | {"webhook-timestamp": garbage}, BODY)


def test_bytes_that_are_not_utf_8_are_refused_quietly() -> None:
    assert not verify_report(SECRET, sign_report(SECRET, BODY), b"\xff")
    assert not verify_request(SECRET, sign_report(SECRET, BODY), "GET", "/\udcff", b"")
