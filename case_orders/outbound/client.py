"""HTTP calls to hosts that somebody else chose."""

import asyncio
import io
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import aiohttp

from case_orders.outbound.addresses import AddressGuard, AddressNotPublic
from case_orders.outbound.errors import (
    BadAnswer,
    Blocked,
    OutboundError,
    TimedOut,
    TooLarge,
    Unreachable,
)
from case_orders.outbound.names import Resolver

# `request` puts its own clock on the whole call.
_NO_TIMEOUT = aiohttp.ClientTimeout(total=None)
_WHOLE_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer; `headers` are looked up in any case, `duration_ms` covers the call from name to last byte."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    duration_ms: int


class Outbound:
    """A guarded HTTP client; use it as an async context manager.

    Every address is judged when it is connected to, so a name that changes its address in between wins nothing.
    Redirects are answers like others, proxies of the environment and cookies are ignored, nothing is decompressed.
    `allow` names networks in CIDR form that are called although they are not public; they alone are called without
    TLS. `per_host` caps the connections to one host, `look_ups` the names that are looked up at once; a call waits for
    either within its time.
    """

    def __init__(self, allow: Sequence[str] = (), per_host: int = 16, look_ups: int = 64) -> None:
        self._guard = AddressGuard(allow)
        self._per_host = per_host
        self._look_ups = look_ups

    async def __aenter__(self) -> Self:
        self._resolver = Resolver(self._look_ups)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                resolver=self._resolver,
                socket_factory=self._guard.open_socket,
                limit=0,
                limit_per_host=self._per_host,
            ),
            headers={"User-Agent": "case-orders", "Accept-Encoding": "identity"},
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._session.close()
        await self._resolver.close()

    def check_url(self, url: str) -> None:
        """Raises Blocked unless `url` has the form of one that may be called. Resolves no name."""
        self._guard.check_url(url)

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        total: float,
        max_bytes: int,
    ) -> Reply:
        """One call, over within `total` seconds, with at most `max_bytes` of answer; raises OutboundError."""
        self.check_url(url)
        started = time.monotonic()
        try:
            async with asyncio.timeout(total):
                status, answer_headers, answer = await self._exchange(method, url, headers, body, max_bytes)
        except TimeoutError:
            raise TimedOut(f"took longer than {total:g} s") from None
        except (aiohttp.ClientError, OSError) as error:
            # The cause names the host and may name the URL.
            raise _explain(error) from None
        return Reply(status, answer_headers, answer, round((time.monotonic() - started) * 1000))

    async def _exchange(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None,
        body: bytes,
        max_bytes: int,
    ) -> tuple[int, Mapping[str, str], bytes]:
        # As a file the body goes out in pieces; whole, a document of megabytes would hold up the event loop.
        data = io.BytesIO(body) if len(body) > _WHOLE_BYTES else body or None
        answer = await self._session.request(
            method,
            url,
            headers=headers,
            data=data,
            allow_redirects=False,
            timeout=_NO_TIMEOUT,
        )
        # Closing drops the connection of an answer that was not read to its end and keeps any other.
        with closing(answer):
            return answer.status, answer.headers, await _read(answer, max_bytes)


async def _read(answer: aiohttp.ClientResponse, max_bytes: int) -> bytes:
    if answer.headers.get("Content-Encoding", "identity").strip().lower() != "identity":
        raise BadAnswer("answer is compressed", answer.status)
    body = bytearray()
    try:
        async for chunk in answer.content.iter_any():
            body += chunk
            if len(body) > max_bytes:
                raise TooLarge(f"answer is larger than {max_bytes} bytes", answer.status)
    except aiohttp.ClientPayloadError:
        raise BadAnswer("answer was cut short", answer.status) from None
    return bytes(body)


def _explain(error: aiohttp.ClientError | OSError) -> OutboundError:
    match error:
        case aiohttp.InvalidURL():
            return Blocked("URL is not valid")
        case aiohttp.ClientConnectorDNSError():
            return Unreachable("host name was not found")
        case aiohttp.ClientConnectorCertificateError():
            return Unreachable("certificate is not valid")
        case aiohttp.ClientSSLError():
            return Unreachable("TLS handshake failed")
        case aiohttp.ClientConnectorError(os_error=AddressNotPublic()):
            return Blocked("address is not public")
        case aiohttp.ClientConnectorError(os_error=ConnectionRefusedError()):
            return Unreachable("connection refused")
        case aiohttp.ClientConnectorError():
            return Unreachable("no connection could be made")
        case aiohttp.ServerDisconnectedError():
            return Unreachable("connection was closed before an answer")
        case aiohttp.ClientResponseError():
            return BadAnswer("answer is not valid HTTP")
        case _:
            return Unreachable("connection was lost")
