"""A demonstration that is served for real, and tabs of a real browser."""

import contextlib
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from time import monotonic, sleep
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.browser.swagger_page import SwaggerPage

REPORTS = Path(__file__).parents[2] / "reports" / "browser"
_READY_WITHIN_SECONDS = 30


@pytest.fixture(scope="session")
def demonstration(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of `case-orders serve --demo`."""
    folder = tmp_path_factory.mktemp("demonstration")
    environ = {**os.environ, "CASE_ORDERS_DATA_DIR": str(folder), "CASE_ORDERS_PORT": "0"}
    command = [sys.executable, "-m", "case_orders", "serve", "--demo"]
    with (
        (folder / "log").open("wb") as log,
        subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=log, text=True) as process,
    ):
        assert process.stdout is not None
        invitation = (re.search(r"http://[\d.:]+", line) for line in process.stdout)
        try:
            url = next(found[0] for found in invitation if found)
            _wait_for(url)
            yield url
        finally:
            process.terminate()


def _wait_for(url: str) -> None:
    address, deadline = urlsplit(url), monotonic() + _READY_WITHIN_SECONDS
    while monotonic() < deadline:
        with contextlib.suppress(ConnectionError), socket.create_connection((address.hostname, address.port)):
            return
        sleep(0.05)
    raise TimeoutError(url)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Debian's Chromium; where there is none, the one that Playwright keeps."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"))
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def pictures() -> Path:
    """Where what the page looked like is kept for people."""
    REPORTS.mkdir(parents=True, exist_ok=True)
    return REPORTS


@pytest.fixture
def page(browser: Browser, demonstration: str, width: int) -> Iterator[SwaggerPage]:
    """Swagger UI, opened in a new tab as wide as the test says, which keeps nothing from the one before."""
    context = browser.new_context(viewport={"width": width, "height": 900})
    page = SwaggerPage(context.new_page(), demonstration)
    page.open()
    yield page
    context.close()
