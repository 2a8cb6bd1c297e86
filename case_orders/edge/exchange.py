"""One request and what is known of it so far, passed along the middlewares in the ASGI scope."""

from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any, Protocol

Headers = list[tuple[bytes, bytes]]
Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]

_KEY = "case_orders.exchange"


class Caller(Protocol):
    """Whoever authenticated: the edge asks what it may do, and logs who it was."""

    @property
    def organization_id(self) -> str: ...

    @property
    def key_id(self) -> str: ...

    @property
    def scopes(self) -> frozenset[str]: ...


@dataclass(slots=True)
class Exchange:
    """What is known of one request.

    `arguments` are the handler's, by the contract's names in snake case; `records` are the ids of the path;
    `answer_headers` go with whatever answer it gets; `client` is the address that asks, of what a proxy says only if
    the server trusts it.
    """

    request_id: str
    client: str | None = None
    operation_id: str = "none"
    caller: Caller | None = None
    arguments: dict[str, Any] = field(default_factory=dict)
    records: dict[str, str] = field(default_factory=dict)
    body: Any = None
    raw_body: bytes = b""
    answer_headers: Headers = field(default_factory=list)

    @classmethod
    def begin(cls, scope: Scope, request_id: str) -> "Exchange":
        exchange = cls(request_id, _address(scope))
        exchange.answer_headers = [(b"x-request-id", request_id.encode()), (b"x-content-type-options", b"nosniff")]
        scope[_KEY] = exchange
        return exchange

    @staticmethod
    def of(scope: Scope) -> "Exchange":
        exchange: Exchange = scope[_KEY]
        return exchange


def _address(scope: Scope) -> str | None:
    """A proxy may hand on anything as the client's address: what is none is not taken, nor any text after a `%`."""
    try:
        return str(ip_address(scope["client"][0].partition("%")[0]))
    except (TypeError, ValueError):  # TypeError: nobody knows
        return None


def header_values(scope: Scope, name: str) -> Iterator[str]:
    """Every value of a request header; `name` in lower case."""
    wanted = name.encode()
    return (value.decode("latin-1") for key, value in scope["headers"] if key == wanted)


def header(scope: Scope, name: str) -> str | None:
    """The first value of a request header."""
    return next(header_values(scope, name), None)
