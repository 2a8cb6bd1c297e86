"""What browsers are told: guess no types, keep nothing, and let no other site's pages in unless they are named."""

from collections.abc import Iterator

import pytest

from case_orders.settings import Settings
from tests.edge.conftest import Post
from tests.edge.wire import Reply, Service, serving
from tests.support.world import Tenant

ORIGIN = "https://app.example.com"


@pytest.fixture(scope="module")
def open_service(settings: Settings) -> Iterator[Service]:
    """A service that lets the pages of one origin in."""
    with serving(settings.model_copy(update={"cors_origins": (ORIGIN,)})) as service:
        yield service


def preflight(service: Service, origin: str) -> Reply:
    headers = {
        "Origin": origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "cv-api-key, content-type, idempotency-key, x-request-id",
    }
    return service.request("OPTIONS", "/api/v1/cases", headers)


def cors_headers(reply: Reply) -> dict[str, str]:
    return {name.lower(): value for name, value in reply.headers.items() if name.lower().startswith("access-control")}


# ---- headers of every answer ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"GET /livez HTTP/1.1\r\n\r\n", 200),
        (b"GET /readyz HTTP/1.1\r\n\r\n", 200),
        (b"GET /nowhere HTTP/1.1\r\n\r\n", 404),
        (b"GET /api/v1/cases HTTP/1.1\r\n\r\n", 401),
        (b"PUT /api/v1/cases HTTP/1.1\r\n\r\n", 405),
        (b"no HTTP\r\n\r\n", 400),
    ],
)
def test_no_answer_is_kept_or_guessed_at_and_none_names_the_server(service: Service, raw: bytes, status: int) -> None:
    reply = service.exchange(raw)
    assert reply.status == status
    assert reply.headers.get_all("cache-control") == ["no-store"]
    require_guarded(reply)


def test_nor_does_an_answer_with_data(service: Service, us: Tenant) -> None:
    reply = service.request("GET", f"/api/v1/cases/{us.case_id}", us.headers)
    assert reply.status == 200
    assert reply.headers.get_all("cache-control") == ["no-store"]
    require_guarded(reply)


@pytest.mark.parametrize("path", ["/docs", "/reference", "/docs/assets/swagger-ui.css", "/openapi.yaml"])
def test_the_pages_and_their_files_are_what_they_say(service: Service, path: str) -> None:
    reply = service.request("GET", path)
    assert reply.status == 200
    require_guarded(reply)


def require_guarded(reply: Reply) -> None:
    assert reply.headers.get_all("x-content-type-options") == ["nosniff"]
    assert not [name for name in reply.headers if name.lower() in ("server", "x-powered-by", "via")]


# ---- other origins --------------------------------------------------------------------------------------------------


def test_no_page_of_another_site_is_let_in_by_default(service: Service, us: Tenant, post: Post) -> None:
    assert preflight(service, ORIGIN).status == 405
    answer = service.request("GET", "/api/v1/cases", us.headers | {"Origin": ORIGIN})
    assert not cors_headers(preflight(service, ORIGIN)) | cors_headers(answer)


def test_the_pages_of_a_named_origin_may_send_what_the_contract_takes(open_service: Service) -> None:
    reply = preflight(open_service, ORIGIN)
    assert reply.status == 200
    allowed = cors_headers(reply)
    assert allowed["access-control-allow-origin"] == ORIGIN
    assert allowed["access-control-allow-methods"] == "DELETE, GET, PATCH, POST"
    taken = allowed["access-control-allow-headers"].lower().split(", ")
    assert {"cv-api-key", "content-type", "idempotency-key", "x-request-id"} <= set(taken)
    assert "access-control-allow-credentials" not in allowed
    require_guarded(reply)


@pytest.mark.parametrize("path", ["/api/v1/cases", "/api/v1/nowhere"])
def test_they_may_read_answers_and_their_headers(open_service: Service, us: Tenant, path: str) -> None:
    reply = open_service.request("GET", path, us.headers | {"Origin": ORIGIN})
    shown = cors_headers(reply)
    assert shown["access-control-allow-origin"] == ORIGIN
    exposed = set(shown["access-control-expose-headers"].split(", "))
    assert {"RateLimit", "RateLimit-Policy", "Retry-After", "X-Request-Id", "Idempotency-Replayed"} <= exposed
    assert reply.headers["vary"] == "Origin"


@pytest.mark.parametrize("origin", ["https://evil.example", f"{ORIGIN}.evil.example", "http://app.example.com", "null"])
def test_the_pages_of_any_other_origin_may_not(open_service: Service, us: Tenant, origin: str) -> None:
    reply = preflight(open_service, origin)
    assert reply.status == 400
    assert "access-control-allow-origin" not in cors_headers(reply)
    answer = open_service.request("GET", "/api/v1/cases", us.headers | {"Origin": origin})
    assert "access-control-allow-origin" not in cors_headers(answer)


@pytest.mark.parametrize(
    "origin", ["*", "null", "app.example.com", "https://a.example/", "https://*.example", "ftp://a"]
)
def test_an_origin_is_named_exactly(origin: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CASE_ORDERS_CORS_ORIGINS", f"{ORIGIN}, {origin}")
    with pytest.raises(ValueError, match="must be an origin"):
        Settings()
