"""What people and tools read: Swagger UI at /docs, Redoc at /reference and the contract itself at /openapi.yaml."""

from pathlib import Path
from typing import Any

import swagger_ui_bundle
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Mount, Route, Router
from starlette.staticfiles import StaticFiles

from case_orders.edge import contract

# Redoc 2.5.4 as published on npm, with its licences. Redoc 3 would report page views to its makers.
REDOC = Path(__file__).parent / "static" / "redoc"

# Everything comes from this host: the pages work with no internet. Both style their elements inline and carry their
# icons as data.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY + "; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
# Redoc searches in a worker that it makes from its own script.
_REFERENCE_HEADERS = _HEADERS | {
    "Content-Security-Policy": _HEADERS["Content-Security-Policy"] + "; worker-src blob:",
}

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Orders API</title>
<link rel="icon" type="image/png" href="/docs/assets/favicon-32x32.png">
<link rel="stylesheet" href="/docs/assets/swagger-ui.css">
<link rel="stylesheet" href="/docs/page.css">
</head>
<body>
<div id="swagger-ui"></div>
<script src="/docs/assets/swagger-ui-bundle.js"></script>
<script src="/docs/start.js"></script>
</body>
</html>
"""

# On a phone Swagger UI lets its table of answers grow to twice the screen, and squeezes what stands beside a heading.
# One below the other, all of it can be read.
_STYLE = """@media (max-width: 768px) {
  .swagger-ui .opblock-tag { flex-wrap: wrap; }
  .swagger-ui .opblock-tag small { flex-basis: 100%; order: 1; padding: 0; }
  .swagger-ui .opblock-tag .expand-operation { margin-left: auto; }
  .swagger-ui .opblock-section-header,
  .swagger-ui .response-controls { flex-wrap: wrap; }
  .swagger-ui .responses-header { display: none; }
  .swagger-ui .responses-table,
  .swagger-ui .responses-table > tbody,
  .swagger-ui .response,
  .swagger-ui .response > td { display: block; box-sizing: border-box; width: 100%; max-width: 100%; }
  .swagger-ui .response > td { padding: 5px 0; }
  .swagger-ui .headers-wrapper { overflow-wrap: anywhere; }
  .swagger-ui .operation-link pre { overflow-wrap: anywhere; white-space: pre-wrap; }
}
"""

# Swagger UI fills in the example of every parameter. An optional one is better left empty: with the examples of
# `cursor` and `createdBefore` a list is empty, and with that of `Idempotency-Key` every order is the first one again.
_START = """const startOptionalParametersEmpty = () => ({
  statePlugins: { spec: { wrapSelectors: {
    parameterWithMetaByIdentity: (original) => (_state, ...which) => {
      const parameter = original(...which);
      return parameter.get("required") ? parameter : parameter.delete("example").deleteIn(["schema", "example"]);
    },
  } } },
});

SwaggerUIBundle({
  url: "/openapi.yaml", dom_id: "#swagger-ui", deepLinking: true, validatorUrl: null,
  tryItOutEnabled: true, displayRequestDuration: true, defaultModelsExpandDepth: 0,
  plugins: [startOptionalParametersEmpty],
});
"""

# Fonts are those of the reader's machine: Redoc's own would come from elsewhere. So would the picture beside its name,
# which the policy forbids and Redoc then leaves out.
_REFERENCE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Orders API reference</title>
<link rel="icon" type="image/png" href="/docs/assets/favicon-32x32.png">
<style>body { margin: 0; }</style>
</head>
<body>
<redoc spec-url="/openapi.yaml" native-scrollbars="true" theme='{
  "typography": {
    "fontFamily": "system-ui, sans-serif",
    "headings": { "fontFamily": "system-ui, sans-serif" },
    "code": { "fontFamily": "ui-monospace, monospace" }
  }
}'></redoc>
<script src="/reference/assets/redoc.standalone.js"></script>
</body>
</html>
"""


def _page(_request: Request) -> Response:
    return HTMLResponse(_PAGE, headers=_HEADERS)


def _style(_request: Request) -> Response:
    return Response(_STYLE, media_type="text/css", headers=_HEADERS)


def _start(_request: Request) -> Response:
    return Response(_START, media_type="text/javascript", headers=_HEADERS)


def _reference(_request: Request) -> Response:
    return HTMLResponse(_REFERENCE, headers=_REFERENCE_HEADERS)


def _contract(_request: Request) -> Response:
    return Response(contract.text(), media_type="application/yaml", headers=_HEADERS)


def routes() -> Any:
    """An ASGI app for the pages; any other path is a 404."""
    assets = StaticFiles(directory=swagger_ui_bundle.swagger_ui_path)
    return Router(
        [
            Route("/docs", _page),
            Route("/docs/page.css", _style),
            Route("/docs/start.js", _start),
            Mount("/docs/assets", assets),
            Route("/reference", _reference),
            Mount("/reference/assets", StaticFiles(directory=REDOC)),
            Route("/openapi.yaml", _contract),
        ],
        redirect_slashes=False,
    )
