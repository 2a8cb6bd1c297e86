"""Request ids, and the envelope of whatever goes wrong."""

import json
from pathlib import Path

import pytest
from httpx2 import ASGITransport
from sqlmodel import select

from case_orders.app import create_app
from case_orders.db import Database, now
from case_orders.edge.exchange import ASGIApp
from case_orders.settings import Settings
from models import ApiKey, Case
from tests.edge.conftest import Post
from tests.edge.wire import Reply, Service, head, require_refusal
from tests.support.contract_client import ContractClient
from tests.support.orders import documented
from tests.support.world import PATIENT, Tenant

# ---- request ids ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("request_id", ["a", "REQ-1_2.3", "x" * 64])
def test_a_clients_own_request_id_is_kept(post: Post, request_id: str) -> None:
    reply = post(b"{}", x_request_id=request_id)
    assert reply.headers["x-request-id"] == reply.json()["requestId"] == request_id


@pytest.mark.parametrize(
    "request_id", ["", "x" * 65, "a b", "a\tb", 'a"b', "é", "<script>", "a;b=c", "%0D%0ASet-Cookie:a"]
)
def test_any_other_request_id_is_replaced(post: Post, request_id: str) -> None:
    reply = post(b"{}", x_request_id=request_id)
    assert reply.headers["x-request-id"].startswith("req_")
    assert len(reply.headers["x-request-id"]) == 36
    assert reply.headers.get_all("x-request-id") == [reply.json()["requestId"]]


def test_a_request_id_cannot_bring_a_header_in(service: Service, post: Post) -> None:
    raw = head("GET", "/livez", {"X-Request-Id": "a\rSet-Cookie: b=c"})
    require_refusal(service.exchange(raw), 400)
    reply = service.exchange(head("GET", "/livez", {"X-Request-Id": "a\r\n Set-Cookie: b=c"}))
    assert reply.headers["set-cookie"] is None


def test_every_answer_has_a_request_id_of_its_own(service: Service, us: Tenant, post: Post) -> None:
    answers = [
        service.request("GET", path, {"cv-api-key": us.key})
        for path in (
            "/livez",
            "/livez",
            "/docs",
            "/openapi.yaml",
            "/nowhere",
            "/api/v1/cases",
            "/docs/assets/nothing.js",
        )
    ]
    assert len({answer.headers["x-request-id"] for answer in answers}) == len(answers)


# ---- what goes wrong --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "raw",
    [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", b"HELLO\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n",
     b"GET /livez HTTP/1.1\r\nHost test\r\n\r\n", b"GET /livez HTTP/1.1\r\nA: a\x00b\r\n\r\n",
     b"get /livez HTTP/1.1\r\n\r\n",
     b"FETCH /livez HTTP/1.1\r\n\r\n", b"GET /li vez HTTP/1.1\r\n\r\n"],
    ids=range(8),
)  # fmt: skip
def test_what_is_no_http_is_answered_in_the_envelope(service: Service, post: Post, raw: bytes) -> None:
    reply = service.exchange(raw)
    assert require_refusal(reply, 400) == "Request is not valid HTTP"
    assert reply.json()["code"] == "malformed_request"


def api_of(application: ASGIApp, tenant: Tenant) -> ContractClient:
    return ContractClient(transport=ASGITransport(application), base_url="http://test/api/v1", headers=tenant.headers)


async def test_more_writes_than_the_queue_holds_are_put_off(settings: Settings, us: Tenant) -> None:
    database = Database(settings.database_url, most_waiting=0)
    async with api_of(create_app(settings, database), us) as api:
        answer = await api.post("/cases", json={"patient": PATIENT})
        assert (await api.get("/orders")).status_code == 200
    await database.close()
    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
    assert answer.headers["retry-after"] == "1"


@pytest.mark.parametrize("url", ["sqlite:///{folder}/empty.db", "postgresql://nobody:secret@127.0.0.1:9/nothing"])
async def test_a_database_that_is_away_is_answered_with_503_and_named_in_no_log(
    tmp_path: Path, url: str, settings: Settings, us: Tenant, capsys: pytest.CaptureFixture[str]
) -> None:
    database = Database(url.format(folder=tmp_path))
    async with api_of(create_app(settings, database), us) as api:
        answers = [await api.get("/cases"), await api.post(f"/cases/{us.case_id}", json=documented())]
    await database.close()
    for answer in answers:
        assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
    output = capsys.readouterr()
    logged = output.out + output.err
    assert "storage unavailable" in logged
    assert not [word for word in ("secret", "nobody", "SELECT", us.key, str(tmp_path)) if word in logged]


async def test_a_failure_of_ours_is_a_500_that_says_nothing(
    settings: Settings,
    database: Database,
    us: Tenant,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(_case: Case) -> None:
        raise RuntimeError("NEEDLE-7f3a")

    monkeypatch.setattr(Case, "as_json", fail)
    async with api_of(create_app(settings, database), us) as api:
        answer = await api.get(f"/cases/{us.case_id}")
    assert (answer.status_code, answer.json()["code"]) == (500, "internal_error")
    assert answer.json()["error"] == "The service failed; quote the requestId to its operator"
    output = capsys.readouterr()
    assert "NEEDLE-7f3a" not in answer.text + output.out + output.err
    assert "RuntimeError" in output.out
    assert answer.json()["requestId"] in output.out


def logged_of(service: Service, capsys: pytest.CaptureFixture[str], target: str, headers: dict[str, str]) -> str:
    """What is logged of a request: by the time that the next one is answered its line is written."""
    service.request("GET", target, headers)
    service.request("GET", "/livez")
    return capsys.readouterr().out


def test_one_line_is_logged_for_a_request_by_whom_and_about_what_and_nothing_that_was_sent(
    service: Service, us: Tenant, database: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    with database.transaction() as session:
        key = session.exec(select(ApiKey).where(ApiKey.organization_id == us.organization_id)).one()
    logged = logged_of(service, capsys, f"/api/v1/cases/{us.case_id}?reference=NEEDLE", {"cv-api-key": us.key})
    assert logged.count("operation=getCase") == 1
    for told in (
        "status=400",
        "code=invalid_request",
        f"organization={us.organization_id}",
        f"key={key.id}",
        f"case_id={us.case_id}",
    ):
        assert told in logged
    assert not [word for word in ("NEEDLE", us.key) if word in logged]


def test_what_is_in_the_place_of_an_id_and_is_none_is_not_logged(
    service: Service, us: Tenant, capsys: pytest.CaptureFixture[str]
) -> None:
    logged = logged_of(service, capsys, "/api/v1/cases/NEEDLE", {"cv-api-key": us.key})
    assert "operation=getCase" in logged
    assert "NEEDLE" not in logged


def test_a_key_that_was_revoked_is_logged_by_its_id_when_it_is_used(
    service: Service, us: Tenant, database: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    with database.transaction() as session:
        key = session.exec(select(ApiKey).where(ApiKey.organization_id == us.organization_id)).one()
        key.revoked_at = now()
    logged = logged_of(service, capsys, "/api/v1/cases", {"cv-api-key": us.key})
    assert f"key={key.id}" in logged
    assert "code=invalid_api_key" in logged
    assert us.key not in logged


def test_a_key_that_nobody_has_is_logged_as_refused(service: Service, capsys: pytest.CaptureFixture[str]) -> None:
    logged = logged_of(service, capsys, "/api/v1/cases", {"cv-api-key": "NEEDLE"})
    assert "code=invalid_api_key" in logged
    assert "NEEDLE" not in logged


def test_a_refusal_is_small_and_never_stored_by_a_cache(post: Post) -> None:
    reply: Reply = post(b"{}")
    assert reply.headers["cache-control"] == "no-store"
    assert set(json.loads(reply.body)) == {"status", "success", "message", "error", "code", "requestId", "details"}
