"""The main job, visibly: the documented order is placed, filled, documented and announced.

Every part is a process of its own, and all they share is HTTP on loopback ports: the API with its worker and the
sandbox pharmacy (`case-orders serve --demo`), and a webhook receiver.
"""

import asyncio
import contextlib
import hashlib
import json
import os
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
from rich.console import Console
from rich.live import Live

from case_orders.demo.client import Deadline, DemoFailed, Platform
from case_orders.demo.view import View
from case_orders.edge.server import free_port

PATIENCE_SECONDS = 90
BASES = ("/api", "/api/v1")


def run(keep: bool) -> int:
    """Run the demonstration; with `keep` go on serving afterwards. 0 when all of it held."""
    console = Console()
    try:
        asyncio.run(_run(console, keep))
    except DemoFailed as failure:
        console.print(f"[bold red]The demonstration failed:[/] {failure}")
        return 1
    except KeyboardInterrupt:
        return 0
    return 0


async def _run(console: Console, keep: bool) -> None:
    folder = Path(tempfile.mkdtemp(prefix="case-orders-demo-"))
    url, receiver_url = (f"http://127.0.0.1:{free_port()}" for _ in range(2))
    secret_file = folder / "webhook-secret"
    console.print(f"Everything of this demonstration lies in [bold]{folder}[/] (service.log has the logs)")
    with (folder / "service.log").open("wb") as log:
        async with (
            _process(_receiver_command(receiver_url, secret_file), folder, log) as receiver,
            _process(_service_command(url), folder, log) as service,
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as session,
        ):
            platform, view = Platform(url, session), View()
            await _until_ready(platform, service)
            _keep_secret(secret_file, await platform.create_webhook(receiver_url))
            listening = asyncio.create_task(_listen(receiver, view))
            with Live(view, console=console, refresh_per_second=8):
                await _watch(platform, view)
            listening.cancel()
            console.print()
            await _show_documents(console, platform, view, folder)
            console.print(f"Swagger UI: [bold]{url}/docs[/]")
            console.print("[bold green]All of it held.[/]")
            if keep:
                console.print("Serving until you press Ctrl-C.")
                await service.wait()


def _service_command(url: str) -> list[str]:
    return ["serve", "--demo", "--host", "127.0.0.1", "--port", url.rpartition(":")[2]]


def _receiver_command(url: str, secret_file: Path) -> list[str]:
    return ["webhook-receiver", "--port", url.rpartition(":")[2], "--secret-file", str(secret_file)]


def _environment(folder: Path) -> dict[str, str]:
    """Nothing that is set for a real service may reach the demonstration."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("CASE_ORDERS_")}
    return ours | {"CASE_ORDERS_DATA_DIR": str(folder)}


@asynccontextmanager
async def _process(arguments: list[str], folder: Path, log: Any) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "case_orders",
        *arguments,
        env=_environment(folder),
        stdout=asyncio.subprocess.PIPE if arguments[0] == "webhook-receiver" else log,
        stderr=log,
        limit=2**20,
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.wait()


async def _until_ready(platform: Platform, service: asyncio.subprocess.Process) -> None:
    deadline = Deadline(30)
    while not await platform.is_ready():
        if service.returncode is not None:
            raise DemoFailed(f"the service ended with exit code {service.returncode}")
        deadline.check("the service to be ready")
        await asyncio.sleep(0.1)


def _keep_secret(path: Path, secret: str) -> None:
    path.touch(mode=0o600)
    path.write_text(secret)


async def _listen(receiver: asyncio.subprocess.Process, view: View) -> None:
    """Hand each message that the receiver reports to the view."""
    assert receiver.stdout is not None
    while line := await receiver.stdout.readline():
        view.add_message(json.loads(line))


async def _watch(platform: Platform, view: View) -> None:
    """Place the documented order below each base path and follow both to their end."""
    for base in BASES:
        view.add_order(await platform.place_example(base), f"{base}/cases/...")
    deadline = Deadline(PATIENCE_SECONDS)
    while not view.is_complete():
        for order_id in view.orders:
            view.update_order(await platform.order(order_id))
        view.require_no_failure()
        deadline.check(view.waiting_for())
        await asyncio.sleep(0.1)


async def _show_documents(console: Console, platform: Platform, view: View, folder: Path) -> None:
    """Download each prescription and say where it lies, once its bytes are what the API says they are."""
    for order_id in view.orders:
        for document in await platform.documents(order_id):
            content = await platform.download(order_id, document["id"])
            if hashlib.sha256(content).hexdigest() != document["sha256"]:
                raise DemoFailed("a document's bytes are not what the API says")
            path = folder / f"prescription-{document['id']}.pdf"
            path.write_bytes(content)
            console.print(f"Prescription: {path}", soft_wrap=True)
            console.print(f"      sha256: {document['sha256']}")
