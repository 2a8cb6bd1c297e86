"""Clients that are slow, silent or without end."""

import json
import select
import socket
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from case_orders.edge.server import MAX_HEAD_BYTES
from case_orders.settings import Settings
from tests.edge.conftest import Post
from tests.edge.wire import Service, answer, chunked, head, require_refusal, serving
from tests.support.world import PATIENT, Tenant

HEAD_SECONDS = BODY_SECONDS = 0.3


@pytest.fixture(scope="module")
def impatient(settings: Settings) -> Iterator[Service]:
    """A service that waits for heads and for bodies for 0.3 s."""
    with serving(settings.model_copy(update={"body_seconds": BODY_SECONDS}), HEAD_SECONDS) as service:
        yield service


def cut_after(connection: socket.socket) -> float:
    """Seconds until the other side ends a connection on which it says nothing."""
    started = time.monotonic()
    with suppress(ConnectionResetError):
        assert connection.recv(1000) == b""
    return time.monotonic() - started


def drip(connection: socket.socket, piece: bytes, pause: float = 0.0) -> None:
    """Send header lines without end; raises ConnectionError when the other side has had enough."""
    connection.settimeout(10)
    for _ in range(2000):
        connection.sendall(piece)
        if pause and select.select([connection], [], [], pause)[0] and connection.recv(1000) == b"":
            raise ConnectionResetError


@pytest.mark.parametrize(
    "said", [b"", b"GET /livez HT", b"GET /livez HTTP/1.1\r\nHost: te"], ids=["nothing", "line", "head"]
)
def test_a_head_that_does_not_come_is_not_waited_for(impatient: Service, said: bytes) -> None:
    with impatient.connect() as connection:
        connection.sendall(said)
        assert cut_after(connection) < 10 * HEAD_SECONDS


def test_a_head_that_drips_is_not_waited_for_either(impatient: Service) -> None:
    with impatient.connect() as connection:
        connection.sendall(b"GET /livez HTTP/1.1\r\n")
        started = time.monotonic()
        with pytest.raises(ConnectionError):
            drip(connection, b"a: b\r\n", pause=0.02)
        assert time.monotonic() - started < 10 * HEAD_SECONDS


def test_a_head_without_end_is_cut_off(service: Service, post: Post) -> None:
    with service.connect() as connection:
        connection.sendall(b"GET /livez HTTP/1.1\r\n")
        with pytest.raises(ConnectionError):
            drip(connection, b"a: b\r\n" * (MAX_HEAD_BYTES // 6))


def test_a_head_of_a_common_length_is_taken(service: Service, post: Post) -> None:
    assert service.request("GET", "/livez", {f"a{number}": "b" * 1000 for number in range(32)}).status == 200


def test_a_second_request_may_take_its_time_like_the_first(impatient: Service) -> None:
    with impatient.connect() as connection:
        for _ in range(3):
            connection.sendall(head("GET", "/livez", {}))
            assert answer(connection).status == 200


def test_requests_sent_at_once_are_answered_in_turn(service: Service, us: Tenant, post: Post) -> None:
    with service.connect() as connection:
        connection.sendall(head("GET", "/livez", {}) + head("GET", "/nowhere", {"Connection": "close"}))
        with connection.makefile("rb") as stream:
            replies = stream.read()
    assert replies.index(b"200 OK") < replies.index(b"404 Not Found")


@pytest.mark.parametrize("said", [b"", b"{", b'{"action":'])
def test_a_body_that_does_not_come_is_a_408_and_the_connections_end(
    impatient: Service, us: Tenant, said: bytes
) -> None:
    headers = {"cv-api-key": us.key, "Content-Type": "application/json", "Content-Length": "1000"}
    with impatient.connect() as connection:
        connection.sendall(head("POST", f"/api/v1/cases/{us.case_id}", headers) + said)
        reply = answer(connection, "POST")
        assert require_refusal(reply, 408) == "Body did not arrive within 0.3 seconds"
        assert reply.json()["code"] == "request_timeout"
        assert reply.headers["connection"] == "close"
        assert cut_after(connection) < 10 * BODY_SECONDS


@pytest.mark.parametrize("said", [b"{", b"\r\n"], ids=["body", "empty line"])
def test_what_drips_in_after_the_answer_does_not_hold_the_connection(impatient: Service, said: bytes) -> None:
    length = "1000" if said == b"{" else "0"
    headers = {"cv-api-key": "unknown", "Content-Type": "application/json", "Content-Length": length}
    with impatient.connect() as connection:
        connection.sendall(head("POST", "/api/v1/cases", headers))
        assert answer(connection, "POST").status == 401
        started = time.monotonic()
        with pytest.raises(ConnectionError):
            drip(connection, said, pause=0.02)
        assert time.monotonic() - started < 10 * HEAD_SECONDS


def test_the_rest_of_a_body_that_was_answered_early_is_read_and_the_next_request_answered(
    service: Service, post: Post
) -> None:
    rest = 4 * MAX_HEAD_BYTES
    headers = {"cv-api-key": "unknown", "Content-Type": "application/json", "Content-Length": str(rest)}
    with service.connect() as connection:
        connection.sendall(head("POST", "/api/v1/cases", headers))
        assert answer(connection, "POST").status == 401
        connection.sendall(b" " * rest)
        connection.sendall(head("GET", "/livez", {}))
        assert answer(connection).status == 200


CHUNKS = {"Transfer-Encoding": "chunked"}


@pytest.mark.parametrize(
    ("begin", "piece"),
    [(b"0\r\n", b"a: b\r\n"), (b"0\r\n", b"abcdef"), (b"1;", b"abcdef")],
    ids=["trailers", "one", "extension"],
)
def test_what_belongs_to_no_body_is_not_taken_without_end(
    service: Service, post: Post, begin: bytes, piece: bytes
) -> None:
    with service.connect() as connection:
        connection.sendall(head("GET", "/livez", CHUNKS) + begin)
        with pytest.raises(ConnectionError):
            drip(connection, piece * (MAX_HEAD_BYTES // 6))


def test_a_trailer_is_no_header(settings: Settings, us: Tenant) -> None:
    trusting = settings.model_copy(update={"trusted_proxies": ("127.0.0.1",), "rate_failed_keys": "1/7 days"})
    with serving(trusting) as service:
        end = f"0\r\ncv-api-key: {us.key}\r\nX-Forwarded-For: 192.0.2.{{}}\r\n\r\n"
        asked = head("GET", "/api/v1/cases", CHUNKS | {"X-Forwarded-For": "192.0.2.1"})
        without_key = service.exchange(asked + end.format(2).encode())
        asked = head("GET", "/api/v1/cases", CHUNKS | {"X-Forwarded-For": "192.0.2.1", "cv-api-key": "unknown"})
        statuses = [service.exchange(asked + end.format(number).encode()).status for number in (3, 4)]
    assert without_key.json()["code"] == "missing_api_key"
    assert statuses == [401, 429]


def test_a_body_may_come_in_the_smallest_chunks(service: Service, us: Tenant) -> None:
    body = json.dumps({"patient": PATIENT, "reference": "x" * 50}).encode() + b" " * MAX_HEAD_BYTES
    headers = CHUNKS | {"cv-api-key": us.key, "Content-Type": "application/json"}
    assert service.exchange(head("POST", "/api/v1/cases", headers) + chunked(body, 1), "POST").status == 201


def test_a_slow_client_holds_nobody_up(impatient: Service) -> None:
    silent = [impatient.connect() for _ in range(50)]
    assert impatient.request("GET", "/livez").status == 200
    for connection in silent:
        connection.close()


@pytest.mark.parametrize(("trusted", "statuses"), [(("127.0.0.1",), [401, 401]), ((), [401, 429])])
def test_only_a_trusted_proxy_says_where_a_client_is(
    settings: Settings, trusted: tuple[str, ...], statuses: list[int]
) -> None:
    changed = settings.model_copy(update={"trusted_proxies": trusted, "rate_failed_keys": "1/7 days"})
    with serving(changed) as service:
        answers = [
            service.request("GET", "/api/v1/cases", {"cv-api-key": "unknown", "X-Forwarded-For": client})
            for client in ("192.0.2.1", "192.0.2.2")
        ]
    assert [answer.status for answer in answers] == statuses
