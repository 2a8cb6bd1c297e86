"""Told to stop, the API first says that it leaves, then finishes: nobody who follows its probe is refused."""

import asyncio
import signal
from pathlib import Path

import httpx2

from tests.reliability.deployment import deployed


async def test_a_service_that_was_told_to_stop_is_not_ready_and_goes_on_answering_for_a_while(tmp_path: Path) -> None:
    async with deployed(f"sqlite:///{tmp_path}/case-orders.db", tmp_path, drain_seconds=3) as deployment:
        await deployment.service.start()
        await deployment.ready()
        process = deployment.service.process
        assert process is not None
        async with httpx2.AsyncClient(base_url=deployment.url) as client:
            assert (await client.get("/readyz")).status_code == 200
            process.send_signal(signal.SIGTERM)
            async with asyncio.timeout(3):
                while (answer := await client.get("/readyz")).status_code == 200:
                    await asyncio.sleep(0.02)
            assert {"name": "process", "ok": False, "detail": "stopping"} in answer.json()["data"]["checks"]
            assert (await client.get("/livez")).status_code == 200
            assert (await client.get("/api/v1/cases")).status_code == 401, "it still takes requests"
        assert await process.wait() == 0
