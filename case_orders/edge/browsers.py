"""Pages of other sites that may call the API from a browser: none, unless the operator names their origins."""

from collections.abc import Sequence

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response

from case_orders.edge import contract
from case_orders.edge.exchange import ASGIApp


class CrossOrigin(CORSMiddleware):
    """CORS for exact origins and without credentials: a page sends its API key itself. https://fetch.spec.whatwg.org"""

    def __init__(self, app: ASGIApp, origins: Sequence[str]) -> None:
        super().__init__(
            app,
            allow_origins=origins,
            allow_methods=sorted({operation.method.upper() for operation in contract.operations().values()}),
            allow_headers=["Content-Type", "X-Request-Id", contract.key_header(), *_header_parameters()],
            expose_headers=sorted(_answer_headers()),
        )

    def preflight_response(self, request_headers: Headers) -> Response:
        response = super().preflight_response(request_headers)
        response.headers["X-Content-Type-Options"] = "nosniff"
        return response


def _header_parameters() -> set[str]:
    """The request headers that operations take."""
    parameters = (p for operation in contract.operations().values() for p in operation.parameters)
    return {parameter["name"] for parameter in parameters if parameter["in"] == "header"}


def _answer_headers() -> set[str]:
    """The headers that answers carry."""
    answers = (
        answer for operation in contract.operations().values() for answer in operation.spec["responses"].values()
    )
    return {name for answer in answers for name in answer.get("headers", ())}
