"""The programs that are measured, each a process of its own on its own copy of a template database."""

import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench import cpu
from bench.databases import Databases
from bench.world import World
from case_orders import keyring
from case_orders.edge.server import free_port

ROOT = Path(__file__).parents[1]
OURS = "case-orders"
FASTAPI, CONNEXION, RAW = "fastapi_sqlmodel", "connexion_stock", "raw_asgi"
LOOP = "driver_loop"
_PATIENCE_SECONDS = 30

# One key asks for what many would: its requests are counted as always, and none is refused.
_GENEROUS = {f"CASE_ORDERS_RATE_PER_{whom}": "10000000/10 seconds" for whom in ("KEY", "ORGANIZATION", "PHARMACY")}


@dataclass(frozen=True)
class Checkout:
    """The checkout of case-orders that is measured, and the interpreter that runs it."""

    tree: Path
    python: Path

    def environment(self, url: str, folder: Path, ring: str) -> dict[str, str]:
        """What case-orders runs in; the settings of our own environment reach it too."""
        return {
            **_GENEROUS,
            **os.environ,
            "CASE_ORDERS_DATABASE_URL": url,
            "CASE_ORDERS_DATA_DIR": str(folder),
            "CASE_ORDERS_ENCRYPTION_KEYS": ring,
            "PYTHONPATH": str(self.tree),
            "PYTHONDONTWRITEBYTECODE": "",  # what is installed is compiled
        }


@dataclass(frozen=True)
class Program:
    """A program that serves: where, on which database, as which process."""

    name: str
    port: int
    pid: int
    database_url: str


class Stage:
    """Where programs are started: one kind of database, with a template for case-orders and one for the peers."""

    def __init__(self, databases: Databases, checkout: Checkout, world: World, folder: Path) -> None:
        self.databases = databases
        self.world = world
        self.folder = folder
        self._checkout = checkout
        self._ring = keyring.new_entry()
        world.write(self.world_file)
        self._templates: dict[bool, str] = {}

    @property
    def world_file(self) -> Path:
        return self.folder / "world.json"

    def database_for(self, name: str) -> str:
        """A fresh copy of the template that this program works on; its URL."""
        ours = name == OURS
        if ours not in self._templates:
            self._templates[ours] = self._template(ours)
        return self.databases.create(self._templates[ours])

    def _template(self, ours: bool) -> str:
        url = self.databases.create()
        if ours:
            command = [str(self._checkout.python), str(ROOT / "bench" / "seed.py"), str(self.world_file)]
            environ = self._checkout.environment(url, self.folder, self._ring)
        else:
            command = [sys.executable, "-m", "bench.peers.seed", url, str(self.world_file)]
            environ = dict(os.environ)
        subprocess.run(command, check=True, cwd=ROOT, env=environ)
        return url

    def command(self, name: str, port: int, url: str) -> tuple[list[str], Mapping[str, str], Path]:
        """How a program is started, in which environment and folder."""
        if name == OURS:
            python, environ = str(self._checkout.python), self._checkout.environment(url, self.folder, self._ring)
            arguments = ["-m", "case_orders", "serve", "--no-worker", "--port", str(port)]
            return [python, *arguments], environ, self._checkout.tree
        return [sys.executable, "-m", f"bench.peers.{name}", url, str(port)], os.environ, ROOT

    @contextmanager
    def started(self, name: str, url: str | None = None) -> Iterator[Program]:
        """A program that answers requests, stopped at the end of the block; its log goes to a file."""
        url, port = url or self.database_for(name), free_port()
        command, environ, cwd = self.command(name, port, url)
        log = self.folder / f"{name}-{port}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(command, env=environ, cwd=cwd, stdout=output, stderr=output)
        try:
            _wait_until(lambda: _answers(port), process, log)
            yield Program(name, port, process.pid, url)
        finally:
            process.terminate()
            process.wait(_PATIENCE_SECONDS)

    def seconds_to_ready(self, url: str) -> float:
        """How long case-orders takes from its start until /readyz says that it is ready."""
        begun = time.monotonic()
        with self.started(OURS, url) as program:
            _wait_until(lambda: _is_ready(program.port))
            return time.monotonic() - begun

    def cpu_seconds(self, program: Program) -> tuple[float, float]:
        """The CPU time so far of the program, and of the database server."""
        return cpu.seconds(program.pid), self.databases.cpu_seconds()


def _wait_until(
    is_so: Callable[[], bool], process: subprocess.Popen[bytes] | None = None, log: Path | None = None
) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not is_so():
        if time.monotonic() > deadline or (process is not None and process.poll() is not None):
            raise RuntimeError(log.read_text() if log else "it does not get ready")
        time.sleep(0.01)


def _answers(port: int) -> bool:
    try:
        urllib.request.urlopen(f"http://127.0.0.1:{port}/livez", timeout=5).close()
    except urllib.error.HTTPError:  # a peer without probes
        return True
    except OSError:
        return False
    return True


def _is_ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False
