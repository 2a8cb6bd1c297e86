import asyncio
import gzip
import socket
import ssl
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import RawTestServer

from case_orders.outbound import (
    BadAnswer,
    Blocked,
    Outbound,
    OutboundError,
    Reply,
    TimedOut,
    TooLarge,
    Unreachable,
)
from tests.outbound.conftest import Name, Script, Serve
from tests.outbound.test_addresses import NOT_PUBLIC

SELF_SIGNED = Path(__file__).with_name("self_signed.pem")
REACHED = r"^certificate is not valid$"


async def get(client: Outbound, url: object, *, total: float = 5, max_bytes: int = 1000) -> Reply:
    return await client.request("GET", str(url), total=total, max_bytes=max_bytes)


async def echo(request: web.BaseRequest) -> web.Response:
    headers = {
        "X-Method": request.method,
        "X-Sent": request.headers.get("X-Sent", ""),
        "Set-Cookie": "a=b",
    }
    return web.Response(body=await request.read(), status=202, headers=headers)


@pytest.fixture
async def certified() -> AsyncIterator[RawTestServer]:
    """A server with a certificate that nobody vouches for: who reaches it is told so."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(SELF_SIGNED)
    server = RawTestServer(echo)
    await server.start_server(ssl=context)
    async with server:
        yield server


class TestAnAnswer:
    async def test_carries_status_headers_body_and_duration(self, outbound: Outbound) -> None:
        async with RawTestServer(echo) as server:
            reply = await outbound.request(
                "POST",
                str(server.make_url("/")),
                headers={"X-Sent": "yes"},
                body=b"{}",
                total=5,
                max_bytes=2,
            )
        assert (
            reply.status,
            reply.body,
            reply.headers["x-method"],
            reply.headers["X-SENT"],
        ) == (
            202,
            b"{}",
            "POST",
            "yes",
        )
        assert 0 <= reply.duration_ms < 5000

    async def test_is_not_shown_when_the_reply_is_printed(self) -> None:
        assert "secret" not in repr(Reply(200, {"X": "secret"}, b"secret", 1))

    async def test_may_be_a_failure_of_the_other_side(self, outbound: Outbound) -> None:
        async def fail(_: web.BaseRequest) -> web.Response:
            return web.Response(status=503, headers={"Retry-After": "7"})

        async with RawTestServer(fail) as server:
            reply = await get(outbound, server.make_url("/"))
        assert (reply.status, reply.headers["Retry-After"]) == (503, "7")

    async def test_is_not_followed_when_it_is_a_redirect(self, outbound: Outbound) -> None:
        paths = []

        async def redirect(request: web.BaseRequest) -> web.Response:
            paths.append(request.path)
            return web.Response(status=307, headers={"Location": "/elsewhere"})

        async with RawTestServer(redirect) as server:
            reply = await get(outbound, server.make_url("/here"))
        assert (reply.status, paths) == (307, ["/here"])

    async def test_leaves_its_connection_for_the_next_call(self, outbound: Outbound) -> None:
        peers = set()

        async def note(request: web.BaseRequest) -> web.Response:
            assert request.transport is not None
            peers.add(request.transport.get_extra_info("peername"))
            return web.Response(text="ok")

        async with RawTestServer(note) as server:
            for _ in range(3):
                await get(outbound, server.make_url("/"))
        assert len(peers) == 1


class TestACall:
    async def test_sends_no_cookies_back(self, outbound: Outbound) -> None:
        cookies = []

        async def note(request: web.BaseRequest) -> web.Response:
            cookies.append(request.headers.get("Cookie"))
            return web.Response(headers={"Set-Cookie": "a=b"})

        async with RawTestServer(note) as server:
            await get(outbound, server.make_url("/"))
            await get(outbound, server.make_url("/"))
        assert cookies == [None, None]

    async def test_ignores_proxies_of_the_environment(
        self, monkeypatch: pytest.MonkeyPatch, outbound: Outbound
    ) -> None:
        monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
        async with RawTestServer(echo) as server:
            assert (await get(outbound, server.make_url("/"))).status == 202

    async def test_asks_for_an_answer_that_is_not_compressed(self, outbound: Outbound) -> None:
        async def mirror(request: web.BaseRequest) -> web.Response:
            return web.Response(text=request.headers["Accept-Encoding"])

        async with RawTestServer(mirror) as server:
            assert (await get(outbound, server.make_url("/"))).body == b"identity"


class TestAnAddress:
    @pytest.mark.parametrize("address", [a for a in NOT_PUBLIC if "%" not in a])
    async def test_that_is_not_public_is_not_connected_to_by_name(
        self, guarded: Outbound, name: Name, address: str
    ) -> None:
        name("shop.example", [address])
        with pytest.raises(Blocked, match=r"^address is not public$"):
            await get(guarded, "https://shop.example/")

    async def test_that_is_not_public_is_passed_over_for_one_that_is(
        self, name: Name, certified: RawTestServer
    ) -> None:
        name("shop.example", ["10.0.0.1", "169.254.169.254", "127.0.0.1"])
        async with Outbound(allow=("127.0.0.1/32",)) as client:
            with pytest.raises(Unreachable, match=REACHED):
                await get(client, f"https://shop.example:{certified.port}/")

    async def test_that_changes_between_two_lookups_is_judged_each_time(
        self, name: Name, certified: RawTestServer
    ) -> None:
        name("rebind.example", ["127.0.0.1"], ["127.0.0.2"])
        async with Outbound(allow=("127.0.0.1/32",)) as client:
            url = f"https://rebind.example:{certified.port}/"
            with pytest.raises(Unreachable, match=REACHED):
                await get(client, url)
            assert isinstance(client._session.connector, aiohttp.TCPConnector)
            client._session.connector.clear_dns_cache()
            with pytest.raises(Blocked):
                await get(client, url)

    async def test_is_looked_up_without_waiting_for_names_that_never_resolve(
        self, outbound: Outbound, unused_tcp_port: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        released = threading.Event()

        def getaddrinfo(host: str, port: int, *_: object, **__: object) -> list[tuple[object, ...]]:
            if host.startswith("tarpit"):
                released.wait()
            return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("127.0.0.1", port))]

        monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
        hanging = [asyncio.create_task(get(outbound, f"https://tarpit-{n}.example/", total=60)) for n in range(40)]
        try:
            async with asyncio.timeout(5):
                with pytest.raises(Unreachable, match=r"^connection refused$"):
                    await get(outbound, f"https://quick.example:{unused_tcp_port}/")
                await asyncio.to_thread(int)
        finally:
            released.set()
            for call in hanging:
                call.cancel()
            await asyncio.gather(*hanging, return_exceptions=True)

    async def test_of_an_unknown_name_is_not_found(self, outbound: Outbound, name: Name) -> None:
        name("known.example", ["127.0.0.1"])
        with pytest.raises(Unreachable, match=r"^host name was not found$"):
            await get(outbound, "https://unknown.example/")

    async def test_where_nobody_listens_refuses_the_connection(self, outbound: Outbound, unused_tcp_port: int) -> None:
        with pytest.raises(Unreachable, match=r"^connection refused$"):
            await get(outbound, f"http://127.0.0.1:{unused_tcp_port}/")


class TestALimit:
    async def test_cuts_an_endless_body(self, outbound: Outbound, serve: Serve) -> None:
        sent = 0

        async def pour(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal sent
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
            while True:
                writer.write(b"x" * 10_000)
                await writer.drain()
                sent += 10_000

        async with serve(pour) as url:
            with pytest.raises(TooLarge, match=r"^answer is larger than 100000 bytes$") as caught:
                await get(outbound, url, max_bytes=100_000)
        assert caught.value.status == 200
        assert sent < 20_000_000  # what the system's buffers hold, not more

    async def test_is_met_by_a_body_of_just_that_length(self, outbound: Outbound, serve: Serve) -> None:
        async with serve(says(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + b"x" * 1000)) as url:
            assert len((await get(outbound, url, max_bytes=1000)).body) == 1000

    @pytest.mark.parametrize(
        "start",
        [
            b"HTTP/1.1 200 ",
            b"HTTP/1.1 200 OK\r\nX: ",
            b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n",
        ],
    )
    async def test_of_time_holds_for_an_answer_that_drips(self, outbound: Outbound, serve: Serve, start: bytes) -> None:
        async def drip(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(start)
            while True:
                writer.write(b"x")
                await writer.drain()
                await asyncio.sleep(0.01)

        async with serve(drip) as url, asyncio.timeout(2):
            with pytest.raises(TimedOut, match=r"^took longer than 0.15 s$"):
                await get(outbound, url, total=0.15, max_bytes=10_000)

    async def test_of_time_holds_for_a_request_that_nobody_reads(self, outbound: Outbound, serve: Serve) -> None:
        async def deaf(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nx")
            await asyncio.Event().wait()

        async with serve(deaf) as url, asyncio.timeout(2):
            with pytest.raises(TimedOut):
                await outbound.request("POST", url, body=bytes(20_000_000), total=0.1, max_bytes=10)

    async def test_of_connections_to_one_host_makes_calls_wait(self) -> None:
        inside, most = 0, 0

        async def count(_: web.BaseRequest) -> web.Response:
            nonlocal inside, most
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0.01)
            inside -= 1
            return web.Response()

        async with (
            RawTestServer(count) as server,
            Outbound(("127.0.0.0/8",), per_host=2) as client,
        ):
            await asyncio.gather(*(get(client, server.make_url("/")) for _ in range(6)))
        assert most == 2


class TestABrokenAnswer:
    @pytest.mark.parametrize("encoding", ["gzip", "br", "identity, gzip"])
    async def test_that_is_compressed_is_refused_unread(self, outbound: Outbound, serve: Serve, encoding: str) -> None:
        head = f"HTTP/1.1 200 OK\r\nContent-Encoding: {encoding}\r\n\r\n".encode()
        async with serve(says(head + gzip.compress(bytes(1000)))) as url:
            with pytest.raises(BadAnswer, match=r"^answer is compressed$") as caught:
                await get(outbound, url)
        assert caught.value.status == 200

    @pytest.mark.parametrize(
        ("answer", "error", "reason"),
        [
            (
                b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc",
                BadAnswer,
                "answer was cut short",
            ),
            (
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
                BadAnswer,
                "answer was cut short",
            ),
            (b"", Unreachable, "connection was closed before an answer"),
            (b"SSH-2.0-OpenSSH_9.6\r\n", BadAnswer, "answer is not valid HTTP"),
            (
                b"HTTP/1.1 200 OK\r\nX: " + b"x" * 10_000 + b"\r\n\r\n",
                BadAnswer,
                "answer is not valid HTTP",
            ),
        ],
    )
    async def test_is_named_in_plain_words(
        self,
        outbound: Outbound,
        serve: Serve,
        answer: bytes,
        error: type[OutboundError],
        reason: str,
    ) -> None:
        async with serve(says(answer)) as url:
            with pytest.raises(error) as caught:
                await get(outbound, url)
        assert caught.value.reason == reason

    async def test_whose_connection_is_reset_is_named(self, outbound: Outbound, serve: Serve) -> None:
        async def reset(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.transport.abort()

        async with serve(reset) as url:
            with pytest.raises(Unreachable, match=r"^connection was (lost|closed before an answer)$"):
                await get(outbound, url)


class TestTls:
    async def test_a_certificate_that_nobody_vouches_for_is_refused(
        self, outbound: Outbound, certified: RawTestServer
    ) -> None:
        with pytest.raises(Unreachable, match=r"^certificate is not valid$"):
            await get(outbound, certified.make_url("/"))

    async def test_a_server_that_speaks_no_tls_is_refused(self, outbound: Outbound, serve: Serve) -> None:
        async with serve(says(b"HTTP/1.1 200 OK\r\n\r\n")) as url:
            with pytest.raises(Unreachable, match=r"^TLS handshake failed$"):
                await get(outbound, url.replace("http:", "https:"))


async def test_a_failure_tells_nothing_of_the_url(outbound: Outbound, unused_tcp_port: int) -> None:
    with pytest.raises(Unreachable) as caught:
        await get(outbound, f"http://127.0.0.1:{unused_tcp_port}/patient?token=secret")
    assert caught.value.__suppress_context__
    assert "127.0.0.1" not in str(caught.value)


async def test_a_url_in_the_wrong_form_is_refused_before_any_call(
    guarded: Outbound,
) -> None:
    with pytest.raises(Blocked, match=r"^https is required$"):
        await guarded.request("POST", "http://example.com/", total=1, max_bytes=1)


def says(answer: bytes) -> Script:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1000)
        writer.write(answer)
        await writer.drain()

    return script
