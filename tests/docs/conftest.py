"""The demonstration that the guide's reader has before him."""

import contextlib
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator

import httpx2
import pytest


@pytest.fixture(scope="package")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """`case-orders serve --demo`, as the guide starts it but at a free port; where it answers."""
    folder = tmp_path_factory.mktemp("demo")
    ours = {name: value for name, value in os.environ.items() if not name.startswith("CASE_ORDERS_")}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "case_orders", "serve", "--demo", "--port", "0"],
            env=ours | {"CASE_ORDERS_DATA_DIR": str(folder)},
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    with process:
        try:
            url = _announced(process)
            _await_answer(url)
            yield url
        finally:
            process.terminate()


def _announced(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    for line in process.stdout:
        if found := re.search(r"serves a demonstration at (http://127\.0\.0\.1:\d+)", line):
            return found[1]
    raise AssertionError(f"the service ended with exit code {process.wait()}")


def _await_answer(url: str) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with contextlib.suppress(httpx2.TransportError):
            httpx2.get(f"{url}/livez", trust_env=False)
            return
        time.sleep(0.05)
    raise AssertionError("the service does not answer")
