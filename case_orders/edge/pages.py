"""What people and tools read: Swagger UI at /docs and the contract itself at /openapi.yaml."""

from typing import Any

import swagger_ui_bundle
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Mount, Route, Router
from starlette.staticfiles import StaticFiles

from case_orders.edge import contract

# Everything comes from this host: the page works with no internet. Swagger UI styles its elements inline and
# carries its icons as data.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY + "; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Orders API</title>
<link rel="icon" type="image/png" href="/docs/assets/favicon-32x32.png">
<link rel="stylesheet" href="/docs/assets/swagger-ui.css">
</head>
<body>
<div id="swagger-ui"></div>
<script src="/docs/assets/swagger-ui-bundle.js"></script>
<script src="/docs/start.js"></script>
</body>
</html>
"""

_START = """SwaggerUIBundle({
  url: "/openapi.yaml", dom_id: "#swagger-ui", deepLinking: true, validatorUrl: null,
  tryItOutEnabled: true, displayRequestDuration: true, defaultModelsExpandDepth: 0,
});
"""


def _page(_request: Request) -> Response:
    return HTMLResponse(_PAGE, headers=_HEADERS)


def _start(_request: Request) -> Response:
    return Response(_START, media_type="text/javascript", headers=_HEADERS)


def _contract(_request: Request) -> Response:
    return Response(contract.text(), media_type="application/yaml", headers=_HEADERS)


def routes() -> Any:
    """An ASGI app for the pages; any other path is a 404."""
    assets = StaticFiles(directory=swagger_ui_bundle.swagger_ui_path)
    return Router(
        [
            Route("/docs", _page),
            Route("/docs/start.js", _start),
            Mount("/docs/assets", assets),
            Route("/openapi.yaml", _contract),
        ],
        redirect_slashes=False,
    )
