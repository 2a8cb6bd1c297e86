"""Bodies: how they say what they are, how they arrive, and what JSON is."""

import copy
import gzip
import json
import time
from typing import Any

import pytest
from sqlmodel import func, select

from case_orders.db import Database
from case_orders.demo import example
from case_orders.edge import contract
from case_orders.edge.body import MAX_BYTES, MAX_DEPTH, parse_json
from case_orders.errors import Invalid
from models import Order
from tests.edge.conftest import Post
from tests.edge.wire import Service, answer, chunked, head, require_refusal
from tests.handlers.steps import change, strings
from tests.support.world import Tenant

BODY = example.body().encode()
DOCUMENTED = json.loads(BODY)


def full() -> dict[str, Any]:
    """The documented example with each text field that an order can have."""
    body: dict[str, Any] = copy.deepcopy(DOCUMENTED)
    order = body["order"]
    order["shippingAddress"]["addressLine2"] = order["prescriber"]["address"]["addressLine2"] = "Apt 4"
    order["prescriber"]["dea"] = "AP5836727"
    order |= {"dateSigned": "2024-01-15", "datePrescribed": "2024-01-15T10:30:00Z"}
    order["prescriptionItems"][0]["customFields"] = {"programme": {"names": ["cardio"]}}
    return body | {"idempotencyKey": "a-key"}


FIELDS = list(strings(full()))


def with_text(path: str, escaped: str) -> bytes:
    """The full example whose field at `path` is the text that `escaped` is in JSON."""
    body = full()
    change(body, path[1:].replace("/", "."), "MARK")
    return json.dumps(body).replace("MARK", escaped).encode()


def with_custom_fields(text: str) -> bytes:
    body = copy.deepcopy(DOCUMENTED)
    body["order"]["prescriptionItems"][0]["customFields"] = {"mark": "MARK"}
    return json.dumps(body).replace('{"mark": "MARK"}', text).encode()


# ---- the media type ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "media_type",
    ["application/json", "Application/JSON", "application/json; charset=utf-8", 'application/json;charset="UTF-8"',
     "application/json ; profile=a", "application/json;"],
)  # fmt: skip
def test_json_may_say_that_it_is_utf_8(post: Post, media_type: str) -> None:
    assert post(BODY, content_type=media_type).status == 200


@pytest.mark.parametrize(
    "media_type",
    [None, "", "text/json", "text/plain", "application/jsonp", "application/vnd.api+json", "*/*", "multipart/form-data",
     "application/json; charset=utf-16", "application/json; charset=foo", "application/json; charset=", "json"],
)  # fmt: skip
def test_any_other_media_type_is_refused(post: Post, media_type: str | None) -> None:
    reply = post(BODY, content_type=media_type)
    assert require_refusal(reply, 415) == "Content-Type must be application/json"
    assert reply.json()["code"] == "unsupported_media_type"


def test_a_body_that_is_packed_is_refused(post: Post) -> None:
    assert post(BODY, content_encoding="identity").status == 200
    reply = post(gzip.compress(BODY), content_encoding="gzip")
    assert require_refusal(reply, 415) == "Content-Encoding must be left out: bodies are not unpacked"
    assert reply.json()["code"] == "unsupported_encoding"


def test_a_media_type_in_odd_letters_is_validated_like_any_other(post: Post) -> None:
    assert require_refusal(post(b"{}", content_type="Application/Json"), 400) == "action is required"


# ---- how it arrives ---------------------------------------------------------------------------------------------


def test_a_body_may_come_in_chunks(service: Service, us: Tenant, post: Post) -> None:
    headers = {"cv-api-key": us.key, "Content-Type": "application/json", "Transfer-Encoding": "chunked"}
    start = head("POST", f"/api/v1/cases/{us.case_id}", headers)
    assert service.exchange(start + chunked(BODY, 7), "POST").status == 200
    assert require_refusal(service.exchange(start + chunked(b"{}"), "POST"), 400) == "action is required"
    assert require_refusal(service.exchange(start + chunked(b" " * (MAX_BYTES + 1)), "POST"), 413)


@pytest.mark.parametrize("length", ["0", None])
def test_a_request_without_a_body_is_told_so(post: Post, length: str | None) -> None:
    assert require_refusal(post(b"", content_length=length), 400) == "body is required"


def test_256_kib_are_taken_and_not_a_byte_more(post: Post) -> None:
    padded = BODY + b" " * (MAX_BYTES - len(BODY))
    assert post(padded).status == 200
    reply = post(padded + b" ")
    assert require_refusal(reply, 413) == "Body must be at most 262144 bytes"
    assert reply.json()["code"] == "body_too_large"


@pytest.mark.parametrize("length", ["abc", "-1", "1, 2", "0x10", "99999999999999999999999"])
def test_a_length_that_is_none_is_refused(post: Post, length: str) -> None:
    require_refusal(post(BODY, content_length=length), 400, 413)


def test_a_body_longer_than_it_says_is_refused(post: Post) -> None:
    require_refusal(post(BODY, content_length=str(len(BODY) - 10)), 400)


def test_a_body_that_breaks_off_leaves_nothing_behind(
    service: Service, us: Tenant, post: Post, database: Database
) -> None:
    headers = {"cv-api-key": us.key, "Content-Type": "application/json", "Content-Length": str(len(BODY) + 1)}
    with service.connect() as connection:
        connection.sendall(head("POST", f"/api/v1/cases/{us.case_id}", headers) + BODY)
    with database.transaction() as session:
        count = select(func.count()).select_from(Order).where(Order.organization_id == us.organization_id)
        assert session.exec(count).one() == 0


def test_a_length_beside_chunks_is_refused(service: Service, us: Tenant, post: Post) -> None:
    headers = {"cv-api-key": us.key, "Content-Type": "application/json", "Transfer-Encoding": "chunked"}
    raw = head("POST", f"/api/v1/cases/{us.case_id}", headers | {"Content-Length": "5"})
    require_refusal(service.exchange(raw + chunked(BODY), "POST"), 400)


def test_a_client_that_asks_first_is_told_to_go_on(service: Service, us: Tenant, post: Post) -> None:
    headers = {"cv-api-key": us.key, "Content-Type": "application/json", "Expect": "100-continue"}
    with service.connect() as connection:
        connection.sendall(head("POST", f"/api/v1/cases/{us.case_id}", headers | {"Content-Length": str(len(BODY))}))
        assert connection.recv(1000).startswith(b"HTTP/1.1 100")
        connection.sendall(BODY)
        assert answer(connection, "POST").status == 200


# ---- what JSON is -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (BODY.decode().encode("utf-16"), "it is not UTF-8"),
        (BODY.replace(b"Hypertension", b"Hypertensi\xf3n"), "it is not UTF-8"),
        (BODY.replace(b"Hypertension", b"\xed\xa0\x80"), "it is not UTF-8"),
        (BODY.replace(b"Hypertension", b"\xc0\x80"), "it is not UTF-8"),
        (b"\xef\xbb\xbf" + BODY, "line 1, column 1"),
        (BODY.replace(b"Hypertension", b"Hyper\x00tension"), "line"),
        (BODY.replace(b"Hypertension", b"Hyper\ntension"), "line"),
        (BODY[:-1], "line"),
        (BODY + b"{}", "line"),
        (BODY.replace(b'"action"', b"'action'"), "line"),
        (b"[" * 10_000, "it is nested more than 64 levels deep"),
        (b'{"action":' * 10_000 + b"1" + b"}" * 10_000, "it is nested more than 64 levels deep"),
        (with_custom_fields('{"a": NaN}'), "NaN and Infinity are not numbers"),
        (with_custom_fields('{"a": -Infinity}'), "NaN and Infinity are not numbers"),
        (with_custom_fields('{"a": 1e400}'), "a number is out of range"),
        (with_custom_fields('{"a": -1e400}'), "a number is out of range"),
        (with_custom_fields('{"a": %s}' % ("9" * 5000)), "a number is out of range"),
        (with_custom_fields('{"a": 9223372036854775808}'), "a number is out of range"),
        (with_custom_fields('{"a": 01}'), "line"),
        (with_custom_fields('{"a": 1, "a": 1}'), "an object repeats a name"),
        (with_custom_fields('{"a": {"b": [{"c": 1, "c": 2}]}}'), "an object repeats a name"),
        (with_custom_fields(r'{"\u0000": 1}'), "the character U+0000 is not allowed"),
        (with_custom_fields(r'{"\ud800": 1}'), "half of a surrogate pair stands alone"),
        (BODY.replace(b'"action"', b'"action": "PLACE_ORDER", "action"'), "an object repeats a name"),
    ],
    ids=range(24),
)  # fmt: skip
def test_what_is_no_strict_json_is_refused(post: Post, body: bytes, why: str) -> None:
    reply = post(body)
    assert require_refusal(reply, 400).startswith(f"Body is not valid JSON: {why}")
    assert reply.json()["code"] == "malformed_json"


def test_a_text_may_hold_any_character_that_can_be_stored(post: Post) -> None:
    assert post(BODY.replace(b"Hypertension", rb"\ud83d\ude00 \\u0000 \\ud800 \uffff \u00e9")).status == 200


@pytest.mark.parametrize("escaped", [r"a\ud800", r"a\udfffb", r"\ude00\ud83d", r"a\u0000", r"\\\u0000"])
def test_no_text_field_takes_what_cannot_be_stored(post: Post, escaped: str) -> None:
    for path in FIELDS:
        reply = post(with_text(path, escaped))
        require_refusal(reply, 400)
        assert reply.json()["code"] == "malformed_json", path


MAY_HAVE_LINES = ("patientHealthInfo", "direction", "customFields")


def test_no_pattern_matches_before_a_final_newline(post: Post) -> None:
    for path in FIELDS:
        reply = post(with_text(path, value_at(path) + r"\n"), idempotency_key=path)
        if any(name in path for name in MAY_HAVE_LINES):
            assert reply.status == 200, path
        else:
            require_refusal(reply, 400)
            assert [detail["path"] for detail in reply.json()["details"]] == [path]


def value_at(path: str) -> str:
    value: Any = full()
    for step in path[1:].split("/"):
        value = value[int(step) if step.isdecimal() else step]
    return str(value)


def test_64_levels_are_taken_and_not_one_more(post: Post) -> None:
    # The body, the order, the items, the item and its custom fields are five of them.
    inner = MAX_DEPTH - 5
    assert post(with_custom_fields('{"a": %s}' % ("[" * inner + "]" * inner))).status == 200
    deeper = post(with_custom_fields('{"a": %s}' % ("[" * (inner + 1) + "]" * (inner + 1))))
    assert require_refusal(deeper, 400) == "Body is not valid JSON: it is nested more than 64 levels deep"


@pytest.mark.parametrize("text", ["[", "]", '{"a": [[', "[[[]", " ", "nul", '"', '"\\', "1.", "--1", "{1: 2}", "[1,]"])
def test_whatever_is_cut_short_is_malformed(text: str) -> None:
    with pytest.raises(Invalid, match="malformed_json"):
        parse_json(text.encode())


def test_no_depth_is_too_much_for_the_look_at_the_text() -> None:
    for depth in range(MAX_DEPTH, 2000, 7):
        with pytest.raises(Invalid):
            parse_json(b"[" * depth + rb'"\u0000"' + b"]" * depth)


# ---- no body keeps the service busy -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ("NewCase", {"reference": "a" * 250_000 + "\x01"}),
        ("NewCase", {"patient": {"email": "a." * 120_000}}),
        ("PharmacyReport", {"documents": [{}] * 80_000}),
        ("PharmacyReport", {"documents": [{"id": "a", "url": "http://" + "a." * 120_000}]}),
        ("NewWebhook", {"events": [part for number in range(20_000) for part in (number, str(number))]}),
        ("CaseAction", {str(number): number for number in range(30_000)}),
        ("CaseAction", {"order": {"prescriptionItems": [{}] * 80_000}}),
        ("CaseAction", {"order": {"diagnosis": " " * 250_000}}),
    ],
    ids=range(8),
)
def test_the_largest_body_is_judged_in_a_moment(schema: str, value: object) -> None:
    compiled = contract.component(schema)
    started = time.process_time()
    assert compiled.problems(value)
    assert time.process_time() - started < 1
