"""What reaches the log of a process, whoever writes it."""

import json
import logging
import re
import subprocess
import sys
from typing import Any

import pytest

PROGRAM = """
import asyncio, gc, logging, structlog
from case_orders import logs

logs.configure("info")
library = logging.getLogger("a.library")

def fail():
    try:
        raise KeyError("NEEDLE-1")
    except KeyError as cause:
        raise ValueError("NEEDLE-2") from cause

async def never_retrieved():
    asyncio.get_running_loop().create_future().set_exception(ValueError("NEEDLE-3"))
    gc.collect()

asyncio.run(never_retrieved())
try:
    fail()
except ValueError as error:
    library.exception("it failed")
    library.error("it failed", exc_info=error)
    structlog.get_logger("ours").exception("it failed")
for log in (library, structlog.get_logger("ours")):
    log.info("nothing failed")
    log.debug("nobody asks")
"""


@pytest.fixture(scope="module")
def written() -> str:
    """The log of a process in which exceptions are logged in every way."""
    return subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True).stderr


def lines(written: str, name: str) -> list[dict[str, Any]]:
    return [line for line in map(json.loads, written.splitlines()) if line["logger"] == name]


def test_an_exception_is_logged_by_type_and_place_and_never_by_its_text(written: str) -> None:
    assert "NEEDLE" not in written
    failed = [*lines(written, "a.library")[:2], lines(written, "ours")[0]]
    assert [line["error"] for line in failed] == ["ValueError"] * 3
    assert all(re.fullmatch(r"<string>:\d+ > <string>:\d+", line["where"]) for line in failed), failed


def test_what_asyncio_tells_of_tasks_is_cut_to_its_first_line(written: str) -> None:
    (line,) = lines(written, "asyncio")
    assert (line["event"], line["error"]) == ("Future exception was never retrieved", "ValueError")


@pytest.mark.parametrize("name", ["a.library", "ours"])
def test_a_line_without_an_exception_names_none(written: str, name: str) -> None:
    line = lines(written, name)[-1]
    assert line.keys() == {"event", "level", "logger", "timestamp"}
    assert logging.getLevelName(line["level"].upper()) == logging.INFO


def test_what_is_below_the_level_is_not_written(written: str) -> None:
    assert "nobody asks" not in written
