"""From a checked request to its handler: gives the handler what it names, in a session that fits the method.

What writes, and what shows health data, leaves an entry in the audit trail: a write in its own transaction, a read
before it is answered.
"""

import inspect
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any

from sqlmodel import Session

from case_orders import auth, batches, idempotency, lookups
from case_orders.audit import Refusals, Trail
from case_orders.auth import Caller, Callers
from case_orders.db import Database
from case_orders.edge.contract import Operation
from case_orders.edge.exchange import Exchange
from case_orders.envelope import Answer, Download
from case_orders.errors import Refusal, Unauthorized
from case_orders.idempotency import Repeatable
from case_orders.shared_session import Ask

Result = Answer | Download
Handler = Callable[..., Any]
Act = Callable[[Session], Result]
Run = Callable[[Handler, dict[str, Any], Exchange, Trail], Awaitable[Result]]


class Dispatcher:
    """Binds handlers to their operations."""

    def __init__(self, database: Database, callers: Callers, refusals: Refusals, provided: Mapping[str, Any]) -> None:
        """`provided` is what handlers may name beside the request's own arguments."""
        self.database = database
        self.callers = callers
        self.refusals = refusals
        self.provided = {"database": database, **provided}

    def bind(self, operation: Operation, handler: Handler) -> Callable[[Exchange], Awaitable[Result]]:
        wanted = frozenset(inspect.signature(handler).parameters)
        if "session" not in wanted and operation.needs_key:
            raise TypeError(f"{operation.id} needs a session, in which its caller's key is looked at")
        run = self._in_session(operation) if "session" in wanted else _without_session

        async def endpoint(exchange: Exchange) -> Result:
            trail = Trail(exchange)
            given = {
                **self.provided,
                **exchange.arguments,
                "caller": exchange.caller,
                "body": exchange.body,
                "raw_body": exchange.raw_body,
                "exchange": exchange,
                "trail": trail,
            }
            try:
                return await run(handler, {name: given[name] for name in wanted if name in given}, exchange, trail)
            except Refusal as refusal:
                if operation.is_audited or isinstance(refusal, Unauthorized):
                    await self.refusals.record(trail, refusal)
                raise

        return endpoint

    def _in_session(self, operation: Operation) -> Run:
        """GET reads; every other method writes, once for each idempotency key."""

        async def run(handler: Handler, arguments: dict[str, Any], exchange: Exchange, trail: Trail) -> Result:
            def act(session: Session) -> Result:
                result: Result = handler(session=session, **arguments)
                return result

            asks = [*_asks(exchange), *lookups.asks_of(handler, arguments)]
            # What only validates runs in a session that cannot write, so it is sure to store nothing.
            if operation.method == "get" or arguments.get("validate_only"):
                return await self._read(operation, exchange, trail, act, asks)
            return await self._write(operation, exchange, trail, act, asks, holds=batches.holds(handler))

        return run

    async def _read(
        self, operation: Operation, exchange: Exchange, trail: Trail, act: Act, asks: Sequence[Ask]
    ) -> Result:
        def admitted(session: Session) -> Result:
            self._admit(session, exchange)
            return act(session)

        result = await self.database.read(admitted, asks)
        if operation.shows_health_data:
            await self.database.write(lambda session: trail.record(session, result))
        return result

    async def _write(
        self, operation: Operation, exchange: Exchange, trail: Trail, act: Act, asks: Sequence[Ask], *, holds: bool
    ) -> Result:
        repeated = _repeatable(operation, exchange)
        if repeated is not None:
            asks = [repeated.ask(), *asks]

        def admitted(session: Session) -> Result:
            self._admit(session, exchange)
            result = act(session) if repeated is None else repeated.once(session, act)
            trail.record(session, result)
            return result

        return await self.database.write(admitted, asks, holds=holds)

    def _admit(self, session: Session, exchange: Exchange) -> None:
        if isinstance(exchange.caller, Caller):
            self.callers.require_valid(session, exchange.caller)


def _asks(exchange: Exchange) -> Iterator[Ask]:
    """What is looked up for every caller."""
    if isinstance(exchange.caller, Caller):
        yield auth.KEYS.ask(exchange.caller.key_id)


async def _without_session(handler: Handler, arguments: dict[str, Any], _exchange: Exchange, _trail: Trail) -> Result:
    result = handler(**arguments)
    answer: Result = await result if inspect.isawaitable(result) else result
    return answer


def _repeatable(operation: Operation, exchange: Exchange) -> Repeatable | None:
    """The request as one that may be repeated, if it carries a key: in the header, or in the body."""
    key = exchange.arguments.get("idempotency_key")
    if key is None and isinstance(exchange.body, dict):
        key = exchange.body.get("idempotencyKey")
    caller = exchange.caller
    if key is None or not isinstance(caller, Caller):
        return None
    mark = idempotency.fingerprint(exchange.arguments, exchange.body)
    return Repeatable(caller.organization_id, operation.id, key, mark)
