"""Parameters of path, query and header, as bytes on the wire."""

from urllib.parse import quote

import pytest

from tests.edge.conftest import Post
from tests.edge.wire import Service, require_refusal
from tests.support.world import Tenant

NEEDLE = "NEEDLE-7f3a"


@pytest.fixture
def key(us: Tenant) -> dict[str, str]:
    return {"cv-api-key": us.key}


@pytest.mark.parametrize(
    ("query", "error"),
    [
        ("colour=red", "colour is not a parameter here"),
        ("Limit=1", "Limit is not a parameter here"),
        ("limit=1&limit=2", "limit must be given once"),
        ("limit=1&limit=1", "limit must be given once"),
        ("limit=", "limit must be an integer"),
        ("limit=%31%30%", "query must be percent-encoded UTF-8 of at most 100 parameters"),
        ("reference=%zz", "query must be percent-encoded UTF-8 of at most 100 parameters"),
        ("reference=%ff", "query must be percent-encoded UTF-8 of at most 100 parameters"),
        ("reference=%ed%a0%80", "query must be percent-encoded UTF-8 of at most 100 parameters"),
        ("&".join(["limit=1"] * 101), "query must be percent-encoded UTF-8 of at most 100 parameters"),
        ("reference=%00", "reference must be 1 to 100 printable characters and not blank"),
        ("reference=a%0A", "reference must be 1 to 100 printable characters and not blank"),
        ("reference=" + "a" * 10_000, "reference must be 1 to 100 printable characters and not blank"),
        ("cursor=%27%3B--", "cursor must be the nextCursor of another page"),
        ("limit=" + "9" * 5000, "limit must be an integer"),
        ("%0Aa=1", "?a is not a parameter here"),
        ("a" * 100 + "=1", "a" * 64 + "... is not a parameter here"),
    ],
    ids=range(17),
)  # fmt: skip
def test_a_query_is_what_the_contract_says(
    service: Service, post: Post, key: dict[str, str], query: str, error: str
) -> None:
    reply = service.request("GET", f"/api/v1/cases?{query}", key)
    assert require_refusal(reply, 400) == error


@pytest.mark.parametrize("target", ["/api/v1/cases?reference=\xff", "/api/v1/orders/\xff", "/\xff?\x80"])
def test_a_target_with_bytes_beyond_ascii_is_refused(
    service: Service, post: Post, key: dict[str, str], target: str
) -> None:
    require_refusal(service.request("GET", target, key), 400)


def test_every_problem_of_the_parameters_is_named(service: Service, post: Post, key: dict[str, str]) -> None:
    reply = service.request("GET", "/api/v1/orders?limit=0&status=LOST&caseId=1&colour=red", key)
    require_refusal(reply, 400)
    assert {detail["path"] for detail in reply.json()["details"]} == {"limit", "status", "caseId", "colour"}


@pytest.mark.parametrize(
    "identifier",
    ["%0A", "%00", "%20", "1", "null", "*", "%ff", "%zz", "'--", "{orderId}", "a" * 10_000, "%F0%9F%92%8A",
     "123e4567-e89b-12d3-a456-426614174000%0A", "123e4567-e89b-12d3-a456-426614174000%00",
     "123e4567e89b12d3a456426614174000", "%7B123e4567-e89b-12d3-a456-426614174000%7D", NEEDLE],
    ids=range(17),
)  # fmt: skip
def test_an_id_that_is_no_uuid_is_refused(service: Service, post: Post, key: dict[str, str], identifier: str) -> None:
    reply = service.request("GET", f"/api/v1/orders/{identifier}", key)
    assert require_refusal(reply, 400) in ("orderId must be a UUID", "orderId must have at most 36 characters")
    assert NEEDLE.encode() not in reply.body


@pytest.mark.parametrize(
    "path",
    ["/api/v1/orders/..", "/api/v1/orders/../cases", "/api/v1/orders/", "/api/v1/orders//", "//api/v1/orders",
     "/api/v1/orders/a%2Fb", "/api/v1/orders/%2e%2e/cases", "/api/v2/orders", "/API/V1/orders", "/", "/api", "/api/v1",
     "/api/v1/" + "a/" * 5000, "/docs/", "/docs/assets/..%2f..%2fpyproject.toml", "/docs/assets/../../openapi.yaml",
     "/openapi.json", "/api/v1/openapi.json", "/api/v1/ui/", "/favicon.ico", "/api/v1/livez"],
)  # fmt: skip
def test_a_path_that_is_none_is_not_found(service: Service, post: Post, key: dict[str, str], path: str) -> None:
    reply = service.request("GET", path, key)
    require_refusal(reply, 400, 404)
    assert reply.status == 404 or path.endswith("..")


@pytest.mark.parametrize("value", [NEEDLE + "\x80", NEEDLE * 50, NEEDLE + " " + NEEDLE])
def test_a_wrong_idempotency_key_is_refused_and_not_repeated(post: Post, value: str) -> None:
    reply = post(b"{}", idempotency_key=value)
    require_refusal(reply, 400)
    assert "Idempotency-Key" in {detail["path"] for detail in reply.json()["details"]}
    assert NEEDLE.encode() not in reply.body


@pytest.mark.parametrize("value", ["x" * 10_000, "ключ".encode().decode("latin-1"), "\x80\xff", "a,b", "%00"])
def test_a_strange_key_is_just_a_wrong_one(service: Service, post: Post, value: str) -> None:
    assert (
        require_refusal(service.request("GET", "/api/v1/cases", {"cv-api-key": value}), 401) == "API key is not valid"
    )


def test_parameters_of_other_operations_are_refused_too(service: Service, post: Post, key: dict[str, str]) -> None:
    for path in ("/livez?a=1", "/readyz?a=1", f"/api/v1/orders?reference={quote('a')}"):
        assert require_refusal(service.request("GET", path, key), 400).endswith("is not a parameter here")
