"""The service as people would write it in FastAPI and SQLModel: `python -m bench.peers.fastapi_sqlmodel URL PORT`.

Pydantic models make the contract's checks, plain `def` endpoints run in FastAPI's threads with a session each from a
dependency, and every request commits by itself. uvicorn with uvloop and httptools, without an access log. It leaves out
what `bench.peers.service` does, request ids, logs, and guards against slow clients.
"""

import sys
from collections.abc import Callable, Iterator
from typing import Annotated, Any
from uuid import UUID

import uvicorn
from fastapi import Depends, FastAPI, Header, Query, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from sqlalchemy import Engine
from sqlmodel import Session

from bench.peers import service
from bench.peers.bodies import CaseAction, Key
from bench.peers.engine import make_engine, writing
from bench.peers.service import Refused


class Answer(BaseModel):
    """The envelope."""

    status: int
    success: bool
    message: str
    data: dict[str, Any]


def sessions(engine: Engine) -> Callable[[], Iterator[Session]]:
    def session() -> Iterator[Session]:
        with Session(engine) as session:
            yield session

    return session


def make_app(url: str) -> FastAPI:
    app, engine = FastAPI(), make_engine(url)
    Reading = Annotated[Session, Depends(sessions(engine))]
    Writing = Annotated[Session, Depends(sessions(writing(engine)))]
    ApiKey = Annotated[str, Header(alias="cv-api-key")]

    @app.post("/api/v1/cases/{case_id}")
    def perform_case_action(
        session: Writing,
        cv_api_key: ApiKey,
        case_id: UUID,
        body: CaseAction,
        idempotency_key: Annotated[Key | None, Header()] = None,
    ) -> Answer:
        organization = service.authenticate(session, cv_api_key)
        asked = body.order.model_dump(by_alias=True, exclude_none=True)
        key = idempotency_key or body.idempotency_key
        return Answer(**service.place_once(session, organization, str(case_id), asked, key))

    @app.get("/api/v1/orders/{order_id}")
    def get_order(session: Reading, cv_api_key: ApiKey, order_id: UUID) -> Answer:
        return Answer(**service.get_order(session, service.authenticate(session, cv_api_key), str(order_id)))

    @app.get("/api/v1/orders")
    def list_orders(
        session: Reading,
        cv_api_key: ApiKey,
        limit: Annotated[int, Query(ge=1, le=100)] = 20,
        cursor: UUID | None = None,
    ) -> Answer:
        organization = service.authenticate(session, cv_api_key)
        return Answer(**service.list_orders(session, organization, limit, str(cursor) if cursor else None))

    @app.exception_handler(Refused)
    def refuse(_request: Request, refused: Refused) -> JSONResponse:
        body = {"status": refused.status, "success": False, "message": str(refused), "details": refused.details}
        return JSONResponse(body, refused.status)

    return app


if __name__ == "__main__":
    uvicorn.run(make_app(sys.argv[1]), port=int(sys.argv[2]), access_log=False, log_level="warning")
