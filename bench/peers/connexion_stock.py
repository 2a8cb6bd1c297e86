"""The service on Connexion as it comes: `python -m bench.peers.connexion_stock URL PORT`.

An AsyncApp with the contract and Connexion's own validation; handlers are plain functions that run in threads with a
session each, and every request commits by itself. It leaves out what `bench.peers.service` does, and every operation
but the three that are measured.
"""

import sys
from pathlib import Path
from typing import Any

import uvicorn
import yaml
from connexion import AsyncApp, request
from connexion.exceptions import OAuthProblem
from connexion.lifecycle import ConnexionRequest, ConnexionResponse
from connexion.resolver import Resolver
from connexion.security import ApiKeySecurityHandler
from sqlmodel import Session

from bench.peers import service
from bench.peers.engine import make_engine, writing
from bench.peers.service import JSON, Refused
from bench.peers.tables import Organization

CONTRACT = Path(__file__).parents[2] / "openapi.yaml"


class Handlers:
    """The functions behind the operations; `user` is the organization, `body` and the rest come from Connexion."""

    def __init__(self, url: str) -> None:
        self._reading = make_engine(url)
        self._writing = writing(self._reading)

    def authenticate(self, key: str) -> JSON:
        with Session(self._reading) as session:
            try:
                return {"sub": service.authenticate(session, key).id}
            except Refused as refused:
                raise OAuthProblem(str(refused)) from None

    def perform_case_action(self, case_id: str, body: JSON, user: str) -> JSON:
        # Connexion checks header parameters, but hands none of them over.
        key = request.headers.get("Idempotency-Key") or body.get("idempotencyKey")
        with Session(self._writing) as session:
            return service.place_once(session, session.get_one(Organization, user), case_id, body["order"], key)

    def get_order(self, order_id: str, user: str) -> JSON:
        with Session(self._reading) as session:
            return service.get_order(session, session.get_one(Organization, user), order_id)

    def list_orders(self, user: str, limit: int = 20, cursor: str | None = None) -> JSON:
        with Session(self._reading) as session:
            return service.list_orders(session, session.get_one(Organization, user), limit, cursor)


def _refuse(_request: ConnexionRequest, refused: Exception) -> ConnexionResponse:
    assert isinstance(refused, Refused)
    return ConnexionResponse(refused.status, body=str(refused))


def _not_here(**_arguments: Any) -> tuple[str, int]:
    return "not part of the bench", 501


def _security(handlers: Handlers) -> type[ApiKeySecurityHandler]:
    """Connexion finds this function by its name only, but ours has a database."""

    class ApiKey(ApiKeySecurityHandler):  # type: ignore[misc]  # Connexion is not typed
        def _resolve_func(self, _scheme: JSON) -> Any:
            return handlers.authenticate

    return ApiKey


def make_app(url: str) -> AsyncApp:
    handlers = Handlers(url)
    functions = {
        "performCaseAction": handlers.perform_case_action,
        "getOrder": handlers.get_order,
        "listOrders": handlers.list_orders,
    }
    contract = yaml.safe_load(CONTRACT.read_text())
    app = AsyncApp(__name__, pythonic_params=True)
    app.add_error_handler(Refused, _refuse)
    app.add_api(
        contract,
        base_path="/api/v1",
        resolver=Resolver(lambda operation: functions.get(operation, _not_here)),
        security_map={"apiKey": _security(handlers)},
    )
    return app


if __name__ == "__main__":
    uvicorn.run(make_app(sys.argv[1]), port=int(sys.argv[2]), access_log=False, log_level="warning")
