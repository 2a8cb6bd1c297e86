"""The outermost layer: gives each request its id, turns whatever goes wrong into the envelope, logs one line."""

import re
import time
from collections.abc import Callable
from http import HTTPStatus

import structlog
from starlette.exceptions import HTTPException
from starlette.routing import compile_path

from case_orders.db import UNAVAILABLE, Busy, Uncertain, new_id
from case_orders.edge import contract
from case_orders.edge.answers import send_failure
from case_orders.edge.body import Disconnected
from case_orders.edge.exchange import ASGIApp, Exchange, Headers, Message, Receive, Scope, Send, header
from case_orders.errors import (
    InternalError,
    MethodNotAllowed,
    Refusal,
    describe,
    not_found,
    unavailable,
    where,
)

log = structlog.get_logger("case_orders.http")

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)


class Failures:
    """ASGI middleware around everything else."""

    def __init__(self, app: ASGIApp, bases: tuple[str, ...]) -> None:
        """`bases` are the paths below which the contract's operations lie."""
        self.app = app
        self.allowed_methods = _methods_by_path(bases)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        scope["app"] = self  # so that Starlette raises a 405 instead of answering in plain text
        exchange = Exchange.begin(scope, _request_id(scope))
        started = time.perf_counter()
        response = _Response(send, exchange.answer_headers)
        code = None
        try:
            await self.app(scope, receive, response.send)
        except Disconnected:
            pass
        except Exception as error:
            refusal = self._refusal(error, scope, exchange)
            code = refusal.code
            if response.status:  # too late to say anything: break the connection off, so that nobody takes it as whole
                raise
            await send_failure(response.send, refusal, exchange.request_id)
        finally:
            _log(exchange, scope["method"], response.status, code, started)

    def _refusal(self, error: Exception, scope: Scope, exchange: Exchange) -> Refusal:
        if isinstance(error, Refusal):
            return error
        if isinstance(error, HTTPException):
            return self._http_error(error, scope)
        if isinstance(error, (Busy, Uncertain, *UNAVAILABLE)):
            log.error("storage unavailable", request_id=exchange.request_id, error=describe(error))
            return unavailable()
        log.error("request failed", request_id=exchange.request_id, error=describe(error), where=where(error))
        return InternalError("The service failed; quote the requestId to its operator", "internal_error")

    def _http_error(self, error: HTTPException, scope: Scope) -> Refusal:
        if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            methods = sorted({m for matches, ms in self.allowed_methods if matches(scope["path"]) for m in ms})
            allow = ", ".join(methods) or "GET, HEAD"
            return MethodNotAllowed(f"Method must be one of {allow}", "method_not_allowed", headers={"Allow": allow})
        return not_found("Path")


def _log(exchange: Exchange, method: str, status: int, code: str | None, started: float) -> None:
    """Which operation was called, by whom, about what, and how it ended: ids of ours and nothing else."""
    caller = exchange.caller
    who = {"organization": caller.organization_id, "key": caller.key_id} if caller else {}
    log.info(
        "request",
        request_id=exchange.request_id,
        method=method,
        operation=exchange.operation_id,
        status=status,
        ms=round((time.perf_counter() - started) * 1000, 1),
        **who,
        **exchange.records,
        **({"code": code} if code else {}),
    )


class _Response:
    """Remembers the status and adds the headers that every answer to the request has."""

    def __init__(self, send: Send, headers: Headers) -> None:
        self._send = send
        self._headers = headers
        self.status = 0

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message["headers"] = [*message.get("headers", ()), *self._headers]
        await self._send(message)


def _request_id(scope: Scope) -> str:
    given = header(scope, "x-request-id") or ""
    return given if _REQUEST_ID.fullmatch(given) else new_request_id()


def new_request_id() -> str:
    return f"req_{new_id().replace('-', '')}"


def _methods_by_path(bases: tuple[str, ...]) -> list[tuple[Callable[[str], object], set[str]]]:
    """Which methods each path takes: Starlette's own `Allow` names those of one operation only."""
    found: dict[str, set[str]] = {}
    for operation in contract.operations().values():
        method = operation.method.upper()
        for base in ("",) if operation.at_root else bases:
            found.setdefault(base + operation.path, set()).update({method, "HEAD"} if method == "GET" else {method})
    return [(compile_path(path)[0].match, methods) for path, methods in found.items()]
