"""A real deployment for reliability tests: the service, a sandbox pharmacy and a webhook receiver, each for real."""

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
from aiohttp import web

from case_orders.edge.server import free_port
from case_orders.processes import environment
from case_orders.settings import Settings
from tests.support.web import listening
from tests.support.world import REPORT_SECRET, REQUEST_SECRET


class Program:
    """A `case-orders` process that can be killed and started again; `module` is what starts it."""

    def __init__(
        self, arguments: list[str], environ: Mapping[str, str], log: Path, module: str = "case_orders"
    ) -> None:
        self.module = module
        self.arguments = arguments
        self.environ = {**os.environ, **environ}
        self.log = log
        self.process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", self.module, *self.arguments, env=self.environ, stdout=log, stderr=log
            )

    async def kill(self) -> None:
        """SIGKILL: no goodbye."""
        assert self.process is not None
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        await self.process.wait()

    async def stop(self) -> None:
        assert self.process is not None
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGTERM)
        await self.process.wait()


@dataclass
class Receiver:
    """A webhook endpoint that keeps the id and the body of each message."""

    url: str = ""
    messages: dict[str, dict[str, Any]] = field(default_factory=dict)

    async def receive(self, request: web.Request) -> web.Response:
        self.messages[request.headers["webhook-id"]] = json.loads(await request.read())
        return web.Response(status=204)


@asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    receiver, app = Receiver(), web.Application()
    app.add_routes([web.post("/", receiver.receive)])
    async with listening(app) as url:
        receiver.url = f"{url}/"
        yield receiver


@dataclass
class Deployment:
    """What a test drives."""

    settings: Settings
    service: Program
    pharmacy: Program
    pharmacy_url: str
    receiver: Receiver

    @property
    def url(self) -> str:
        return self.settings.public_url

    async def ready(self) -> None:
        """Returns when the API answers."""
        async with httpx2.AsyncClient() as client, asyncio.timeout(30):
            while True:
                with contextlib.suppress(httpx2.TransportError):
                    await client.get(f"{self.url}/livez")
                    return
                await asyncio.sleep(0.05)


@asynccontextmanager
async def deployed(database_url: str, folder: Path, **settings: Any) -> AsyncIterator[Deployment]:
    """The deployment with the service not yet started."""
    port, pharmacy_port = free_port(), free_port()
    values: dict[str, Any] = {
        "data_dir": folder,
        "database_url": database_url,
        "port": port,
        "public_url": f"http://127.0.0.1:{port}",
        "outbound_allow": "127.0.0.0/8",
    }
    configured = Settings(**values | settings)
    secrets = {
        "CASE_ORDERS_SANDBOX_REQUEST_SECRET": REQUEST_SECRET,
        "CASE_ORDERS_SANDBOX_REPORT_SECRET": REPORT_SECRET,
    }
    service = Program(["serve"], environment(configured), folder / "service.log")
    arguments = ["sandbox-pharmacy", "--port", str(pharmacy_port), "--data-dir", str(folder), "--pace", "0.05"]
    pharmacy = Program(arguments, secrets, folder / "pharmacy.log")
    async with receiving() as receiver:
        await pharmacy.start()
        try:
            yield Deployment(configured, service, pharmacy, f"http://127.0.0.1:{pharmacy_port}", receiver)
        finally:
            for program in (service, pharmacy):
                if program.process is not None:
                    await program.stop()
