import gzip
import hashlib
import tracemalloc
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from aiohttp import web
from aiohttp.test_utils import RawTestServer

from case_orders.documents import FetchFailed, fetch_pdf
from case_orders.outbound import Outbound

PDF = b"%PDF-1.7\n" + b"x" * 5000 + b"\n%%EOF\n"
SHA256 = hashlib.sha256(PDF).hexdigest()
PDF_TYPE = {"Content-Type": "application/pdf"}

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


@pytest.fixture
async def outbound() -> AsyncIterator[Outbound]:
    async with Outbound(allow=("127.0.0.0/8",)) as client:
        yield client


def pharmacy(body: bytes = PDF, status: int = 200, headers: dict[str, str] = PDF_TYPE) -> RawTestServer:
    async def answer(_: web.BaseRequest) -> web.Response:
        return web.Response(body=body, status=status, headers=headers)

    return RawTestServer(answer)


async def failure(
    outbound: Outbound,
    server: RawTestServer,
    *,
    expected_sha256: str | None = None,
    max_bytes: int = 1_000_000,
) -> tuple[str, bool]:
    async with server:
        with pytest.raises(FetchFailed) as caught:
            await fetch_pdf(
                outbound,
                str(server.make_url("/")),
                headers={},
                expected_sha256=expected_sha256,
                max_bytes=max_bytes,
            )
    return caught.value.reason, caught.value.retry


@pytest.mark.parametrize("content_type", ["application/pdf", "Application/PDF; version=1.7"])
async def test_a_whole_pdf_is_fetched(outbound: Outbound, content_type: str) -> None:
    async with pharmacy(headers={"Content-Type": content_type}) as server:
        fetched = await fetch_pdf(outbound, str(server.make_url("/")), headers={}, expected_sha256=SHA256)
    assert (fetched.data, fetched.size, fetched.sha256) == (PDF, len(PDF), SHA256)


async def test_a_pdf_without_a_stated_length_or_checksum_is_fetched(
    outbound: Outbound,
) -> None:
    async def stream(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse(headers=PDF_TYPE)
        response.enable_chunked_encoding()
        await response.prepare(request)
        await response.write(PDF[:1000])
        await response.write(PDF[1000:])
        return response

    async with RawTestServer(stream) as server:
        fetched = await fetch_pdf(outbound, str(server.make_url("/")), headers={}, expected_sha256=None)
    assert fetched.sha256 == SHA256


async def test_the_headers_go_with_the_request(outbound: Outbound) -> None:
    async def check(request: web.BaseRequest) -> web.Response:
        signed = request.headers.get("webhook-signature") == "v1,abc"
        return web.Response(body=PDF, status=200 if signed else 401, headers=PDF_TYPE)

    async with RawTestServer(check) as server:
        await fetch_pdf(
            outbound,
            str(server.make_url("/")),
            headers={"webhook-signature": "v1,abc"},
            expected_sha256=None,
        )


async def test_a_document_is_not_shown_when_it_is_printed(outbound: Outbound) -> None:
    async with pharmacy() as server:
        fetched = await fetch_pdf(outbound, str(server.make_url("/")), headers={}, expected_sha256=None)
    assert "PDF" not in repr(fetched)


@pytest.mark.parametrize("status", [201, 204, 302, 401, 404, 429, 500, 503])
async def test_an_answer_that_is_not_200_is_worth_another_try(outbound: Outbound, status: int) -> None:
    assert await failure(outbound, pharmacy(b"", status)) == (
        f"pharmacy answered {status}",
        True,
    )


async def test_a_document_that_is_gone_for_good_is_not(outbound: Outbound) -> None:
    assert await failure(outbound, pharmacy(status=410)) == (
        "pharmacy answered 410",
        False,
    )


@pytest.mark.parametrize("content_type", ["text/html", "application/pdfx", "application/octet-stream"])
async def test_a_document_of_another_type_is_refused(outbound: Outbound, content_type: str) -> None:
    server = pharmacy(headers={"Content-Type": content_type})
    assert await failure(outbound, server) == (
        "document is not of type application/pdf",
        True,
    )


@pytest.mark.parametrize("body", [b"", b"<html></html>%%EOF", b" " + PDF, gzip.compress(PDF)])
async def test_a_document_that_is_no_pdf_is_refused(outbound: Outbound, body: bytes) -> None:
    assert await failure(outbound, pharmacy(body)) == ("document is not a PDF", True)


@pytest.mark.parametrize("body", [PDF[:2000], PDF + b" " * 1024])
async def test_a_pdf_without_an_end_is_refused(outbound: Outbound, body: bytes) -> None:
    assert await failure(outbound, pharmacy(body)) == ("document was cut short", True)


async def test_a_document_shorter_than_its_stated_length_is_refused(
    outbound: Outbound,
) -> None:
    async def hang_up(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse(headers={**PDF_TYPE, "Content-Length": str(len(PDF) + 1)})
        await response.prepare(request)
        await response.write(PDF)
        assert request.transport is not None
        request.transport.close()
        return response

    assert await failure(outbound, RawTestServer(hang_up)) == (
        "answer was cut short",
        True,
    )


async def test_a_document_with_another_checksum_is_refused(outbound: Outbound) -> None:
    reason = await failure(outbound, pharmacy(), expected_sha256="0" * 64)
    assert reason == ("document has another checksum", True)


async def test_a_document_that_is_too_large_is_refused(outbound: Outbound) -> None:
    assert await failure(outbound, pharmacy(), max_bytes=100) == (
        "answer is larger than 100 bytes",
        True,
    )


async def test_a_pharmacy_that_does_not_answer_is_worth_another_try(outbound: Outbound, unused_tcp_port: int) -> None:
    with pytest.raises(FetchFailed, match=r"^connection refused$") as caught:
        await fetch_pdf(
            outbound,
            f"http://127.0.0.1:{unused_tcp_port}/",
            headers={},
            expected_sha256=None,
        )
    assert caught.value.retry


async def test_a_url_that_is_not_called_is_not(outbound: Outbound) -> None:
    with pytest.raises(FetchFailed, match=r"^address is not public$") as caught:
        await fetch_pdf(outbound, "http://169.254.169.254/", headers={}, expected_sha256=None)
    assert not caught.value.retry


async def test_a_document_is_not_fetched_in_the_clear(outbound: Outbound) -> None:
    with pytest.raises(FetchFailed, match=r"^https is required$") as caught:
        await fetch_pdf(outbound, "http://pharmacy.example/1.pdf", headers={}, expected_sha256=None)
    assert not caught.value.retry


async def test_a_gzip_bomb_of_300_mib_costs_no_memory(outbound: Outbound) -> None:
    bomb = gzip_bomb(mib=300)

    async def explode(_: web.BaseRequest) -> web.Response:
        return web.Response(body=bomb, headers={**PDF_TYPE, "Content-Encoding": "gzip"})

    tracemalloc.start()
    try:
        assert await failure(outbound, RawTestServer(explode)) == (
            "answer is compressed",
            True,
        )
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 5_000_000


def gzip_bomb(mib: int) -> bytes:
    """`mib` MiB of zeros: after a full flush a compressed block may follow itself any number of times."""
    deflate = zlib.compressobj(wbits=31)
    start = deflate.compress(b"") + deflate.flush(zlib.Z_FULL_FLUSH)
    block = deflate.compress(bytes(1024 * 1024)) + deflate.flush(zlib.Z_FULL_FLUSH)
    return start + block * mib
