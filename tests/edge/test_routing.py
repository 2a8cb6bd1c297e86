"""Methods and paths: what the contract names is there, and nothing else is."""

import re

import pytest

from case_orders.db import new_id
from case_orders.edge import contract
from case_orders.edge.routing import BASES
from tests.edge.conftest import Post
from tests.edge.wire import Service, head, require_refusal
from tests.support.world import Tenant

IDENTIFIER = new_id()
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND")


def paths() -> dict[str, set[str]]:
    """Every path of the contract at every base, with the methods that it takes."""
    found: dict[str, set[str]] = {}
    for operation in contract.operations().values():
        for base in ("",) if operation.at_root else BASES:
            methods = found.setdefault(base + re.sub(r"\{\w+\}", IDENTIFIER, operation.path), set())
            methods |= {"GET", "HEAD"} if operation.method == "get" else {operation.method.upper()}
    return found


def test_a_method_that_a_path_does_not_have_is_refused_with_those_that_it_has(
    service: Service, us: Tenant, post: Post
) -> None:
    for path, methods in paths().items():
        for method in set(METHODS) - methods:
            reply = service.request(method, path, {"cv-api-key": us.key})
            assert reply.status == 405, (method, path)
            assert reply.headers["allow"] == ", ".join(sorted(methods))
            if method != "HEAD":
                assert require_refusal(reply) == f"Method must be one of {reply.headers['allow']}"
                assert reply.json()["code"] == "method_not_allowed"


@pytest.mark.parametrize("path", ["/docs", "/openapi.yaml", "/docs/start.js", "/docs/assets/swagger-ui.css"])
def test_the_pages_are_only_read(service: Service, post: Post, path: str) -> None:
    reply = service.request("POST", path)
    require_refusal(reply, 405)
    assert reply.headers["allow"] == "GET, HEAD"


def test_head_is_answered_like_get_without_a_body(service: Service, us: Tenant, post: Post) -> None:
    for path in ("/livez", "/api/v1/cases", f"/api/v1/cases/{us.case_id}", "/docs", "/openapi.yaml"):
        got, asked = [service.request(method, path, {"cv-api-key": us.key}) for method in ("GET", "HEAD")]
        assert (asked.status, asked.body) == (got.status, b"") == (200, b"")
        assert asked.headers["content-length"] == str(len(got.body))


def test_head_of_what_is_refused_has_no_body_either(service: Service, post: Post) -> None:
    for path, status in (("/api/v1/cases", 401), ("/nowhere", 404)):
        reply = service.request("HEAD", path)
        assert (reply.status, reply.body) == (status, b"")


def test_nothing_is_redirected(service: Service, us: Tenant, post: Post) -> None:
    for path in ("/livez/", "/api/v1/cases/", "/docs/", "//livez"):
        require_refusal(service.request("GET", path, {"cv-api-key": us.key}), 404)


def test_the_probes_need_no_base_and_have_none(service: Service, post: Post) -> None:
    assert service.request("GET", "/livez").json() == {"status": 200, "success": True, "message": "Alive"}
    require_refusal(service.request("GET", "/api/v1/livez"), 404)


def test_an_upgrade_is_not_taken_up(service: Service, us: Tenant, post: Post) -> None:
    upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Key": "a", "cv-api-key": us.key}
    assert service.exchange(head("GET", "/api/v1/cases", upgrade)).status == 200


def test_an_absolute_target_is_the_same_path(service: Service, us: Tenant, post: Post) -> None:
    reply = service.request("GET", "http://elsewhere.example/api/v1/cases", {"cv-api-key": us.key})
    assert reply.status == 200
