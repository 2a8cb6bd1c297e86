"""The generators, installed; a client of each; the demonstration, served.

All of it lies in `reports/clients/`, which git ignores, and stays there to be looked at.
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from case_orders.demo.example import API_KEY
from case_orders.edge.server import free_port
from tests.clients.tools import TOOLS, Client, Tool, Workshop

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
EXAMPLE = ROOT / "case_orders/demo/place-order.json"


@pytest.fixture(scope="session")
def workshop() -> Workshop:
    """Installs what requirements.txt and package-lock.json say, each from its own registry."""
    workshop = Workshop(ROOT / "reports/clients")
    workshop.folder.mkdir(parents=True, exist_ok=True)
    requirements = str(HERE / "python/requirements.txt")
    workshop.run((sys.executable, "-m", "venv", "venv"), workshop.folder)
    workshop.run(("python", "-m", "pip", "install", "--quiet", "--requirement", requirements), workshop.folder)
    for name in ("package.json", "package-lock.json"):
        shutil.copy(HERE / "typescript" / name, workshop.folder)
    workshop.run(("npm", "ci", "--ignore-scripts"), workshop.folder)
    return workshop


@pytest.fixture(scope="session", params=TOOLS, ids=lambda tool: tool.name)
def client(request: pytest.FixtureRequest, workshop: Workshop) -> Client:
    """A client, generated anew."""
    tool: Tool = request.param
    folder = workshop.folder / tool.name
    shutil.rmtree(folder, ignore_errors=True)
    for part in (tool.language, tool.name):
        shutil.copytree(HERE / part, folder, dirs_exist_ok=True)
    for file in (ROOT / "openapi.yaml", EXAMPLE):
        shutil.copy(file, folder)
    workshop.run(tool.generate, folder)
    return Client(tool, folder, workshop)


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """`case-orders serve --demo`, ready; the environment in which a scenario finds it."""
    folder, port = tmp_path_factory.mktemp("service"), free_port()
    environ = {name: value for name, value in os.environ.items() if not name.startswith("CASE_ORDERS_")}
    with (folder / "service.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "case_orders", "serve", "--demo", "--host", "127.0.0.1", "--port", str(port)],
            env=environ | {"CASE_ORDERS_DATA_DIR": str(folder)},
            stdout=log,
            stderr=log,
        )
    url = f"http://127.0.0.1:{port}"
    try:
        await_ready(url, process)
        yield {"ORDERS_API_URL": f"{url}/api/v1", "ORDERS_API_KEY": API_KEY, "ORDERS_API_EXAMPLE": str(EXAMPLE)}
    finally:
        process.terminate()
        process.wait()


def await_ready(url: str, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + 30
    while not is_ready(url):
        assert process.poll() is None, "the service ended"
        assert time.monotonic() < deadline, "the service was not ready in time"
        time.sleep(0.1)


def is_ready(url: str) -> bool:
    try:
        return httpx2.get(f"{url}/readyz").status_code == 200
    except httpx2.TransportError:
        return False
