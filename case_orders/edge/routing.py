"""Connexion, told where the contract's operations lie and which function handles each."""

import re
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Any

from connexion import ConnexionMiddleware
from connexion.middleware.lifespan import LifespanMiddleware
from connexion.middleware.routing import RoutingMiddleware
from connexion.operations import AbstractOperation
from connexion.resolver import Resolver

from case_orders.edge import contract, pages
from case_orders.edge.browsers import CrossOrigin
from case_orders.edge.exchange import ASGIApp
from case_orders.edge.failures import Failures
from case_orders.edge.middleware import Authenticate, Authentication, Bind, Handling, OnRefused, Recheck, Validation
from case_orders.edge.parameters import snake_case
from case_orders.edge.rates import FailedKeys, Rates

# The second is the source document's own example; it stays for clients written from it.
BASES = ("/api/v1", "/api")


class _ByTag(Resolver):
    """`performCaseAction`, tagged `Cases`, is `handlers.cases.perform_case_action`."""

    def resolve_operation_id(self, operation: AbstractOperation) -> str:
        return str(operation.operation_id)

    def resolve_function_from_operation_id(self, operation_id: str) -> Any:
        operation = contract.operations()[operation_id]
        function = f"handlers.{operation.tag.lower()}.{snake_case(operation_id)}"
        return super().resolve_function_from_operation_id(function)


class _StrictRouting(RoutingMiddleware):
    """A path with a slash too many is not found; Starlette would redirect, which the contract does not know.

    An id with a newline in it is a bad one, as the contract says; Starlette would know no such path.
    """

    def add_api(self, *args: Any, **kwargs: Any) -> None:
        super().add_api(*args, **kwargs)
        for route in self.router.routes:
            route.app.redirect_slashes = False
            route.path_regex = re.compile(route.path_regex.pattern, re.DOTALL)


def build(
    *,
    authenticate: Authenticate,
    recheck: Recheck,
    on_refused: OnRefused,
    bind: Bind,
    lifespan: Callable[[Any], AbstractAsyncContextManager[None]],
    body_seconds: float,
    rates: Rates,
    failed_keys: FailedKeys,
    cors_origins: Sequence[str],
) -> ASGIApp:
    """The ASGI application."""
    cross_origin = [partial(CrossOrigin, origins=cors_origins)] if cors_origins else []
    app = ConnexionMiddleware(
        pages.routes(),
        import_name=__name__,
        lifespan=lifespan,
        resolver=_ByTag(),
        middlewares=[
            *cross_origin,
            partial(Failures, bases=BASES),
            _StrictRouting,
            partial(
                Authentication,
                authenticate=authenticate,
                recheck=recheck,
                on_refused=on_refused,
                rates=rates,
                failed_keys=failed_keys,
            ),
            partial(Validation, body_seconds=body_seconds),
            partial(Handling, bind=bind),
            LifespanMiddleware,
        ],
    )
    for base in BASES:
        app.add_api(_paths(at_root=False), base_path=base)
    app.add_api(_paths(at_root=True), base_path="")
    asgi: ASGIApp = app
    return asgi


def _paths(*, at_root: bool) -> dict[str, Any]:
    """What Connexion needs to know to route to the operations at the root, or to those below a base path.

    Of the whole contract it would hold each part against OpenAPI's own schema, which takes longer than all else here.
    """
    paths: dict[str, Any] = {}
    for operation in contract.operations().values():
        if operation.at_root == at_root:
            paths.setdefault(operation.path, {})[operation.method] = _route(operation)
    return {"openapi": contract.document()["openapi"], "info": contract.document()["info"], "paths": paths}


def _route(operation: contract.Operation) -> dict[str, Any]:
    in_path = [parameter for parameter in operation.parameters if parameter["in"] == "path"]
    return {"operationId": operation.id, "parameters": in_path, "responses": {"default": {"description": ""}}}
