"""What people and tools read: Swagger UI at /docs, Redoc at /reference and the contract itself at /openapi.yaml."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import swagger_ui_bundle
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route, Router
from starlette.staticfiles import StaticFiles

from case_orders.edge import contract

_STATIC = Path(__file__).parent / "static"
# Redoc 2.5.4 as published on npm, with its licences. Redoc 3 would report page views to its makers.
REDOC = _STATIC / "redoc"

# Everything comes from this host: the pages work with no internet. Both style their elements inline and carry their
# icons as data.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "Referrer-Policy": "no-referrer",
}
# Redoc decorates its maker's name with a picture from elsewhere, which the policy would refuse aloud; an empty one it
# leaves out by itself.
_PICTURE, _NO_PICTURE = b"https://cdn.redoc.ly/redoc/logo-mini.svg", b"data:,"
# Redoc searches in a worker that it makes from its own script.
_REFERENCE_HEADERS = _HEADERS | {"Content-Security-Policy": _POLICY + "; worker-src blob:"}


# What /docs is made of. The bundle has pages of its own too, which would be served without our policy.
_ASSETS = frozenset({"favicon-32x32.png", "swagger-ui-bundle.js", "swagger-ui.css"})


class _Assets(StaticFiles):
    """The files of `_ASSETS` and no others."""

    def lookup_path(self, path: str) -> tuple[str, os.stat_result | None]:
        return super().lookup_path(path) if path in _ASSETS else ("", None)


def _page(content: bytes, media_type: str, headers: Mapping[str, str] = _HEADERS) -> Callable[[Request], Response]:
    return lambda _request: Response(content, media_type=media_type, headers=headers)


def routes() -> Any:
    """An ASGI app for the pages; any other path is a 404."""
    html, css, script, reference = (
        (_STATIC / name).read_bytes() for name in ("docs.html", "docs.css", "docs.js", "reference.html")
    )
    redoc = (REDOC / "redoc.standalone.js").read_bytes().replace(_PICTURE, _NO_PICTURE)
    return Router(
        [
            Route("/docs", _page(html, "text/html")),
            Route("/docs/page.css", _page(css, "text/css")),
            Route("/docs/start.js", _page(script, "text/javascript")),
            Mount("/docs/assets", _Assets(directory=swagger_ui_bundle.swagger_ui_path)),
            Route("/reference", _page(reference, "text/html", _REFERENCE_HEADERS)),
            Route("/reference/assets/redoc.standalone.js", _page(redoc, "text/javascript")),
            Mount("/reference/assets", StaticFiles(directory=REDOC)),
            Route("/openapi.yaml", _page(contract.text(), "application/yaml")),
        ],
        redirect_slashes=False,
    )
