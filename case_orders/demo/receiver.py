"""A webhook endpoint that verifies every message and says so, one JSON line on stdout for each.

It learns its secret from a file: the secret exists only once the webhook has been created.
"""

import asyncio
import hashlib
import hmac
import json
from pathlib import Path

from aiohttp import web
from standardwebhooks import Webhook, WebhookVerificationError


def make_app(secret_file: Path) -> web.Application:
    app = web.Application(client_max_size=64 * 1024 * 1024)

    async def receive(request: web.Request) -> web.Response:
        body = await request.read()
        secret = secret_file.read_text().strip()
        verdicts = {
            "standardWebhooks": _is_standard(secret, body, request),
            "cvSignature": _is_documented(secret, body, request),
        }
        line = {"id": request.headers.get("webhook-id"), "verified": verdicts, "event": json.loads(body)}
        print(json.dumps(line), flush=True)
        return web.Response(status=204 if all(verdicts.values()) else 401)

    app.add_routes([web.post("/", receive)])
    return app


def _is_standard(secret: str, body: bytes, request: web.Request) -> bool:
    try:
        Webhook(secret).verify(body, dict(request.headers))
    except (WebhookVerificationError, ValueError):  # the latter for a header that is not of the form
        return False
    return True


def _is_documented(secret: str, body: bytes, request: web.Request) -> bool:
    expected = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    given = request.headers.get("x-cv-signature", "")
    return hmac.compare_digest(expected.encode(), given.encode(errors="replace"))


async def serve(host: str, port: int, secret_file: Path) -> None:
    """Receive until canceled."""
    runner = web.AppRunner(make_app(secret_file), access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        await asyncio.Event().wait()
    finally:
        await runner.cleanup()
