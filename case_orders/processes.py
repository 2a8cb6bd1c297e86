"""Processes: until when they run, and children that are kept alive and end when their parent does."""

import asyncio
import contextlib
import os
import signal
import sys
import threading
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager

import structlog
import uvloop
from pydantic import SecretStr

from case_orders.settings import Settings

log = structlog.get_logger("case_orders.processes")

_LEASH = "CASE_ORDERS_LEASH"
_RESTART_AFTER_SECONDS = 1
_STOP_WITHIN_SECONDS = 15


def environment(settings: Settings) -> dict[str, str]:
    """The environment that gives a child the same settings."""
    values = {name: getattr(settings, name) for name in Settings.model_fields}
    return {f"CASE_ORDERS_{name.upper()}": _plain(value) for name, value in values.items() if value is not None}


def _plain(value: object) -> str:
    if isinstance(value, tuple):
        return ",".join(value)
    return value.get_secret_value() if isinstance(value, SecretStr) else str(value)


async def stop_requested() -> asyncio.Event:
    """An event that SIGTERM, SIGINT or, for a child, its parent's end sets."""
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if os.environ.pop(_LEASH, None):
        # The parent holds the other end of our stdin: it closes however the parent ends, kill -9 included.
        def wait_for_parent() -> None:
            while os.read(sys.stdin.fileno(), 4096):
                pass
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(stop.set)

        threading.Thread(target=wait_for_parent, daemon=True).start()
    return stop


def run_until_stopped(program: Coroutine[None, None, None]) -> int:
    """Run what would run for ever; an exit code."""
    return uvloop.run(_until_stopped(program))


async def _until_stopped(program: Coroutine[None, None, None]) -> int:
    stop = await stop_requested()
    running, stopped = asyncio.create_task(program), asyncio.create_task(stop.wait())
    await asyncio.wait([running, stopped], return_when=asyncio.FIRST_COMPLETED)
    if running.done():
        running.result()
        return 1
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    return 0


@asynccontextmanager
async def child(arguments: Sequence[str], environ: Mapping[str, str]) -> AsyncIterator[None]:
    """Run `case-orders ARGUMENTS` beside this process, start it again if it dies, stop it at the end of the block."""
    keeper = asyncio.create_task(_keep(arguments, {**os.environ, **environ, _LEASH: "1"}))
    try:
        yield
    finally:
        keeper.cancel()
        await asyncio.gather(keeper, return_exceptions=True)


async def _keep(arguments: Sequence[str], environ: Mapping[str, str]) -> None:
    while True:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "case_orders", *arguments, env=environ, stdin=asyncio.subprocess.PIPE
        )
        try:
            code = await process.wait()
        except asyncio.CancelledError:
            await _stop(process)
            raise
        log.error("child died, starting it again", child=arguments[0], exit_code=code)
        await asyncio.sleep(_RESTART_AFTER_SECONDS)


async def _stop(process: asyncio.subprocess.Process) -> None:
    process.terminate()
    try:
        async with asyncio.timeout(_STOP_WITHIN_SECONDS):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
