"""The reference page: Redoc, which the service carries with it."""

import hashlib
import re
from urllib.parse import urlsplit

import pytest

from case_orders.edge import pages
from tests.edge.wire import Service

FOLDER = pages.REDOC
# Redoc 2.5.4 as its maintainers published it on npm: redoc/bundles/redoc.standalone.js.
PUBLISHED = "dcaf76612bc4a3fbcc923a8966dee2f6146a5f32e5ce1b6f02dd60cbbf89500b"


def test_the_reference_and_everything_in_it_come_from_this_host(service: Service) -> None:
    reply = service.request("GET", "/reference")
    assert (reply.status, reply.headers.get_content_type()) == (200, "text/html")
    links = re.findall(r'(?:src|href|spec-url)="([^"]+)"', reply.body.decode())
    assert {"/openapi.yaml", "/reference/assets/redoc.standalone.js"} <= set(links)
    for link in links:
        assert not urlsplit(link).netloc
        assert service.request("GET", link).status == 200


def test_the_reference_names_no_other_host(service: Service) -> None:
    assert not re.search(rb"https?://|[\"'(]//", service.request("GET", "/reference").body)


def test_the_reference_may_load_from_this_host_only(service: Service) -> None:
    policy = service.request("GET", "/reference").headers["content-security-policy"]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == rules["base-uri"] == rules["frame-ancestors"] == "'none'"
    assert rules["script-src"] == rules["connect-src"] == "'self'"
    assert rules["img-src"] == "'self' data:"
    assert rules["worker-src"] == "blob:"
    for loose in ("unsafe-eval", "http", "*"):
        assert loose not in policy


def test_only_the_reference_may_start_a_worker(service: Service) -> None:
    assert "worker-src" not in service.request("GET", "/docs").headers["content-security-policy"]


@pytest.mark.parametrize("header", [("x-content-type-options", "nosniff"), ("referrer-policy", "no-referrer")])
def test_the_reference_is_guarded(service: Service, header: tuple[str, str]) -> None:
    name, value = header
    assert service.request("GET", "/reference").headers[name] == value


def test_redoc_lies_here_as_it_was_published() -> None:
    assert hashlib.sha256((FOLDER / "redoc.standalone.js").read_bytes()).hexdigest() == PUBLISHED


def test_redoc_is_served_as_it_was_published_but_for_a_picture_from_elsewhere(service: Service) -> None:
    reply = service.request("GET", "/reference/assets/redoc.standalone.js")
    assert reply.headers.get_content_type() == "text/javascript"
    assert b"https://cdn." not in reply.body
    asked_for = b'src:"https://cdn.redoc.ly/redoc/logo-mini.svg"'
    assert reply.body.replace(b'src:"data:,"', asked_for) == (FOLDER / "redoc.standalone.js").read_bytes()


def test_redoc_comes_with_its_licences() -> None:
    assert "The MIT License" in (FOLDER / "LICENSE").read_text()
    assert "DOMPurify" in (FOLDER / "redoc.standalone.js.LICENSE.txt").read_text()


def test_a_path_beside_the_reference_is_not_found(service: Service) -> None:
    for path in ("/reference/", "/reference/assets/nothing.js", "/reference/assets/../pages.py"):
        assert service.request("GET", path).status == 404
