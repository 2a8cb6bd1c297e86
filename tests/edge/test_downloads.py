"""Downloads of large documents, and readers who take their time."""

import asyncio
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from urllib.parse import urlsplit

import pytest

from case_orders.db import Database, new_id, now
from case_orders.demo import example
from case_orders.documents import DocumentStore
from case_orders.edge import downloads
from case_orders.links import Links
from case_orders.settings import Settings
from models import Document
from tests.edge.wire import PATIENCE_SECONDS, Service, head, require_refusal, serving
from tests.support.world import Tenant, populate

SIZE = 20 * 1024 * 1024
"""More than the buffers of the system take: who does not read keeps the rest in the service."""
HEAD_SECONDS = 1.0


@pytest.fixture(scope="module")
def far_away(settings: Settings) -> Iterator[Service]:
    with serving(settings, HEAD_SECONDS, far_away=True) as service:
        yield service


@pytest.fixture(scope="module")
def link(service: Service, database: Database, settings: Settings) -> str:
    """A signed link to a large document, without the host."""
    tenant = Tenant(f"Organization {new_id()}")
    with database.transaction() as session:
        populate(session, tenant)
    headers = {"cv-api-key": tenant.key, "content-type": "application/json"}
    placed = service.request("POST", f"/api/v1/cases/{tenant.case_id}", headers, example.body().encode())
    document = Document(
        organization_id=tenant.organization_id,
        order_id=placed.json()["data"]["order"]["id"],
        source_id="prescription",
        source_url="https://pharmacy.example/prescription",
        file_name="prescription.pdf",
        size=SIZE,
        sha256="0" * 64,
        stored_at=now(),
    )
    with database.transaction() as session:
        session.add(document)
    asyncio.run(DocumentStore.open(settings.document_store).put(document.storage_key, bytes(SIZE)))
    url = urlsplit(Links.from_settings(settings).url(document.id, now()))
    return f"{url.path}?{url.query}"


def test_a_download_that_finds_no_room_is_refused_until_another_is_over(
    service: Service, link: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downloads, "MOST_BYTES", SIZE * 2 - 1)
    with service.connect() as reader:
        reader.sendall(head("GET", link, {}))
        assert reader.recv(12) == b"HTTP/1.1 200"
        refused = service.request("GET", link)
        require_refusal(refused, 503)
        assert (refused.json()["code"], refused.headers["retry-after"]) == ("unavailable", "1")
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (reply := service.request("GET", link)).status == 503:
        assert time.monotonic() < deadline
    assert (reply.status, reply.body) == (200, bytes(SIZE))


def test_one_download_at_a_time_goes_however_large_it_is(
    service: Service, link: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downloads, "MOST_BYTES", 1)
    assert [len(service.request("GET", link).body) for _ in range(3)] == [SIZE] * 3


def test_a_document_that_cannot_be_read_takes_no_room_away(
    service: Service, link: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downloads, "MOST_BYTES", 1)
    with monkeypatch.context() as patched:
        patched.setattr(DocumentStore, "read", None)
        require_refusal(service.request("GET", link), 500)
    assert service.request("GET", link).status == 200


@pytest.mark.parametrize(("each_second", "cut_off"), [(100 * 1024, True), (2 * 1024 * 1024, False)])
def test_who_reads_less_than_256_kib_in_the_time_for_a_head_is_cut_off(
    far_away: Service, link: str, each_second: int, cut_off: bool
) -> None:
    with socket.socket() as reader:
        reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 * 1024)
        reader.settimeout(PATIENCE_SECONDS)
        reader.connect(("127.0.0.1", far_away.port))
        reader.sendall(head("GET", link, {}))
        assert is_cut_off(reader, each_second, 4 * HEAD_SECONDS) is cut_off


def is_cut_off(reader: socket.socket, each_second: int, seconds: float) -> bool:
    """Whether a reader who takes so many bytes each second loses the connection before so many seconds are over."""
    end = time.monotonic() + seconds
    with suppress(ConnectionError):
        while taken := len(reader.recv(4096)):
            if time.monotonic() > end:
                return False
            time.sleep(taken / each_second)
    return True
