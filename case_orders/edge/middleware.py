"""Authentication, validation and handling of one routed request, each compiled from the contract at start.

Connexion routes a request to its operation; from there these three take it. They stand where Connexion's own
security, validation and parameter middlewares would, which build their validators anew at every request.
"""

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from typing import Any

from connexion.middleware.abstract import RoutedAPI, RoutedMiddleware
from connexion.operations import AbstractOperation

from case_orders.edge import body as bodies
from case_orders.edge import contract
from case_orders.edge.answers import send_answer
from case_orders.edge.downloads import Downloads
from case_orders.edge.exchange import ASGIApp, Caller, Exchange, Receive, Scope, Send, header_values
from case_orders.edge.parameters import Parameters
from case_orders.edge.rates import FailedKeys, Rates
from case_orders.edge.schema import Schema
from case_orders.envelope import Answer, Download
from case_orders.errors import Forbidden, Invalid, Problem, Refusal, TooManyRequests, Unauthorized

Authenticate = Callable[[str], Awaitable[Caller]]
Recheck = Callable[[Any], Awaitable[None]]  # of whom `Authenticate` gave
OnRefused = Callable[[Exchange, Refusal, str | None], Awaitable[None]]
Endpoint = Callable[[Exchange], Awaitable[Answer | Download]]
Bind = Callable[[contract.Operation, Callable[..., Any]], Endpoint]


class _Stage(RoutedMiddleware[Any], ABC):
    """A middleware with one compiled step for each operation."""

    def __init__(self, app: ASGIApp) -> None:
        stage = self

        class StageAPI(RoutedAPI[ASGIApp]):
            def __init__(self, *args: Any, **kwargs: Any) -> None:
                super().__init__(*args, **kwargs)
                self.add_paths()

            def make_operation(self, operation: AbstractOperation) -> ASGIApp:
                return stage.compile(contract.operations()[operation.operation_id], operation.function, self.next_app)

        self.api_cls = StageAPI
        super().__init__(app)

    @abstractmethod
    def compile(self, operation: contract.Operation, handler: Callable[..., Any], next_app: ASGIApp) -> ASGIApp:
        """What this stage does for one operation."""


class Authentication(_Stage):
    """Who asks, whether they may, and whether not too often.

    Denies by default: an operation names its scope or says it needs no key.
    """

    def __init__(
        self,
        app: ASGIApp,
        authenticate: Authenticate,
        recheck: Recheck,
        on_refused: OnRefused,
        rates: Rates,
        failed_keys: FailedKeys,
    ) -> None:
        """`recheck` raises `Unauthorized` for a caller whose key is no longer valid.

        `on_refused` is told who was refused and why, with the key if there was one, before the answer is sent.
        """
        super().__init__(app)
        self.authenticate = authenticate
        self.recheck = recheck
        self.on_refused = on_refused
        self.rates = rates
        self.failed_keys = failed_keys
        self.key_header = contract.key_header()

    def compile(self, operation: contract.Operation, handler: Callable[..., Any], next_app: ASGIApp) -> ASGIApp:
        if not operation.needs_key:
            return self._anonymous(operation, next_app)

        async def authenticated(scope: Scope, receive: Receive, send: Send) -> None:
            exchange = Exchange.of(scope)
            exchange.operation_id = operation.id
            try:
                await self._admit(operation, exchange, scope)
                try:
                    await next_app(scope, receive, send)
                except Refusal as refusal:
                    await self._reconsider(exchange, refusal)
                    raise
            except Unauthorized as refusal:
                refusal.headers = {"WWW-Authenticate": f'ApiKey header="{self.key_header}"'}
                raise

        return authenticated

    def _anonymous(self, operation: contract.Operation, next_app: ASGIApp) -> ASGIApp:
        async def named(scope: Scope, receive: Receive, send: Send) -> None:
            Exchange.of(scope).operation_id = operation.id
            await next_app(scope, receive, send)

        return named

    async def _admit(self, operation: contract.Operation, exchange: Exchange, scope: Scope) -> None:
        keys = list(header_values(scope, self.key_header))
        try:
            caller = exchange.caller = await self._caller(exchange, self._only(keys))
            await self.rates.charge(exchange, {"key": caller.key_id, "organization": caller.organization_id})
            if operation.scope not in caller.scopes:
                await self.recheck(caller)
                raise Forbidden(f"API key lacks the scope {operation.scope}", "insufficient_scope")
        except (Unauthorized, Forbidden, TooManyRequests) as refusal:
            await self.on_refused(exchange, refusal, keys[0] if keys else None)
            raise

    async def _reconsider(self, exchange: Exchange, refusal: Refusal) -> None:
        """Whoever has a key that was revoked since it was seen is told that, not what else is wrong."""
        if isinstance(refusal, Unauthorized):
            return
        try:
            await self.recheck(exchange.caller)
        except Unauthorized as instead:
            await self.on_refused(exchange, instead, None)
            raise

    async def _caller(self, exchange: Exchange, key: str) -> Caller:
        with self.failed_keys.attempt(exchange.client, key):
            return await self.authenticate(key)

    def _only(self, keys: list[str]) -> str:
        if not keys or not keys[0]:
            where = f"API key is missing: send it in the {self.key_header} header"
            raise Unauthorized(where, "missing_api_key")
        if len(keys) > 1:
            raise Unauthorized("API key is not valid", "invalid_api_key")
        return keys[0]


class Validation(_Stage):
    """Whether the request is what the contract says; finds every problem before it answers."""

    def __init__(self, app: ASGIApp, body_seconds: float) -> None:
        super().__init__(app)
        self.body_seconds = body_seconds

    def compile(self, operation: contract.Operation, handler: Callable[..., Any], next_app: ASGIApp) -> ASGIApp:
        parameters = Parameters(operation.parameters)
        body_schema = _body_schema(operation)

        async def validated(scope: Scope, receive: Receive, send: Send) -> None:
            exchange = Exchange.of(scope)
            exchange.arguments, problems = parameters.read(scope)
            exchange.records = {n: v for n, v in exchange.arguments.items() if n in parameters.record_ids}
            if body_schema is not None:
                exchange.raw_body = await bodies.read_body(scope, receive, self.body_seconds)
                problems += self._read_json(scope, exchange, body_schema)
            if problems:
                raise Invalid.because(problems)
            await next_app(scope, receive, send)

        return validated

    def _read_json(self, scope: Scope, exchange: Exchange, schema: Schema) -> list[Problem]:
        if not exchange.raw_body:
            return [Problem("", "body is required", "required")]
        bodies.require_json(scope)
        exchange.body = bodies.parse_json(exchange.raw_body)
        return schema.problems(exchange.body)


def _body_schema(operation: contract.Operation) -> Schema | None:
    declared = operation.spec.get("requestBody")
    return Schema(declared["content"]["application/json"]["schema"]) if declared else None


class Handling(_Stage):
    """Calls the operation's handler, and sends what it answers."""

    def __init__(self, app: ASGIApp, bind: Bind) -> None:
        super().__init__(app)
        self.bind = bind
        self.downloads = Downloads()

    def compile(self, operation: contract.Operation, handler: Callable[..., Any], next_app: ASGIApp) -> ASGIApp:
        endpoint = self.bind(operation, handler)

        async def handled(scope: Scope, receive: Receive, send: Send) -> None:
            answer = await endpoint(Exchange.of(scope))
            if isinstance(answer, Download):
                await self.downloads.send(send, answer)
            else:
                await send_answer(send, answer)

        return handled
