"""The documentation that the service carries with it."""

import re
from urllib.parse import urljoin, urlsplit

import pytest

from case_orders.edge import contract
from tests.edge.wire import Service

TYPES = {"js": "text/javascript", "css": "text/css", "png": "image/png"}


def linked(page: str) -> list[str]:
    return re.findall(r'(?:src|href)="([^"]+)"', page)


def test_the_page_and_everything_in_it_come_from_this_host(service: Service) -> None:
    reply = service.request("GET", "/docs")
    assert (reply.status, reply.headers.get_content_type()) == (200, "text/html")
    links = linked(reply.body.decode())
    assert links
    for link in links:
        assert not urlsplit(urljoin("/docs", link)).netloc
        asset = service.request("GET", link)
        assert asset.status == 200
        assert asset.headers.get_content_type() == TYPES[link.rpartition(".")[2]]


def test_the_page_names_no_other_host(service: Service) -> None:
    for path in ("/docs", "/docs/start.js"):
        assert not re.search(rb"https?://|[\"'(]//", service.request("GET", path).body)


def test_the_page_may_load_from_this_host_only(service: Service) -> None:
    policy = service.request("GET", "/docs").headers["content-security-policy"]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == rules["base-uri"] == rules["frame-ancestors"] == "'none'"
    assert rules["script-src"] == rules["connect-src"] == "'self'"
    assert "unsafe-eval" not in policy
    assert "http" not in policy
    assert "*" not in policy


def test_the_page_shows_the_contract_of_this_service(service: Service) -> None:
    assert b'url: "/openapi.yaml"' in service.request("GET", "/docs/start.js").body


def test_the_contract_is_served_byte_for_byte(service: Service) -> None:
    reply = service.request("GET", "/openapi.yaml")
    assert (reply.status, reply.headers.get_content_type()) == (200, "application/yaml")
    assert reply.body == contract.path().read_bytes()
    assert b"$ref" in reply.body


@pytest.mark.parametrize("path", ["/docs", "/docs/start.js", "/openapi.yaml"])
def test_the_pages_are_guarded(service: Service, path: str) -> None:
    headers = service.request("GET", path).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["server"] is None


@pytest.mark.parametrize("name", ["index.html", "oauth2-redirect.html", "swagger-initializer.js", "", "../docs/assets"])
def test_what_else_swagger_ui_brings_is_not_served(service: Service, name: str) -> None:
    assert service.request("GET", f"/docs/assets/{name}").status == 404
