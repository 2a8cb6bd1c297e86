"""The demonstration's webhook endpoint judges whatever it is sent."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest
from aiohttp import web

from case_orders.db import now
from case_orders.demo import receiver
from case_orders.webhooks.signing import signed_headers

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
BODY = b'{"type":"TEST"}'


@pytest.fixture
async def url(tmp_path: Path) -> AsyncIterator[str]:
    (tmp_path / "secret").write_text(SECRET)
    runner = web.AppRunner(receiver.make_app(tmp_path / "secret"))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0]
    yield f"http://{host}:{port}/"
    await runner.cleanup()


@pytest.mark.parametrize("odd", [b"v1", b"v1," + 44 * b"\xe9", 64 * b"\xe9", b""])
async def test_a_signature_that_nobody_would_send_is_refused(
    url: str, odd: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    headers = signed_headers([SECRET], "1", now(), BODY)
    async with httpx2.AsyncClient(trust_env=False) as client:
        taken = await client.post(url, content=BODY, headers=headers)
        refused = [
            await client.post(url, content=BODY, headers={**headers, name: odd})
            for name in ("webhook-signature", "x-cv-signature")
        ]
    assert [answer.status_code for answer in (taken, *refused)] == [204, 401, 401]
    assert [list(json.loads(line)["verified"].values()) for line in capsys.readouterr().out.splitlines()] == [
        [True, True],
        [False, True],
        [True, False],
    ]
