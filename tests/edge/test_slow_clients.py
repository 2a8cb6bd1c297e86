"""Two hundred clients that take their time, at a real process: nobody waits for them, and they do not stay."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from case_orders.db import Database
from case_orders.demo import example
from case_orders.edge.server import free_port
from case_orders.processes import environment
from case_orders.settings import Settings
from tests.edge.wire import Service, head
from tests.support import keys
from tests.support.world import Tenant, populate

OF_EACH_KIND = 50
SECONDS = 2.0
"""How long the service waits for a head, for a body and for a reader."""
DEADLINE_SECONDS = 30


@dataclass(frozen=True)
class Process:
    """A service in a process of its own, and somebody who may ask it."""

    pid: int
    service: Service
    tenant: Tenant

    def open_files(self) -> int:
        return len(list(Path(f"/proc/{self.pid}/fd").iterdir()))

    def place_order(self) -> float:
        """How long a normal client waits for its answer."""
        headers = {"cv-api-key": self.tenant.key, "content-type": "application/json"}
        started = time.monotonic()
        reply = self.service.request("POST", f"/api/v1/cases/{self.tenant.case_id}", headers, example.body().encode())
        assert reply.status == 200
        return time.monotonic() - started


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    folder = tmp_path_factory.mktemp("slow")
    settings = Settings(data_dir=folder, port=free_port(), head_seconds=SECONDS, body_seconds=SECONDS)
    command = [sys.executable, "-m", "case_orders", "serve", "--no-worker"]
    environ = {**os.environ, **environment(settings)}
    with (folder / "log").open("wb") as log, subprocess.Popen(command, env=environ, stderr=log) as running:
        try:
            service = Service(settings.port)
            wait_until(lambda: answers(service))
            yield Process(running.pid, service, tenant_of(settings))
        finally:
            running.terminate()


def tenant_of(settings: Settings) -> Tenant:
    keys.use()
    tenant, database = Tenant("Example"), Database(settings.database_url)
    with database.transaction() as session:
        populate(session, tenant)
    database.dispose()
    return tenant


def answers(service: Service) -> bool:
    with suppress(ConnectionError):
        return service.request("GET", "/livez").status == 200
    return False


def wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


# ---- who takes their time -------------------------------------------------------------------------------------------


def silent(_process: Process, connection: socket.socket) -> Callable[[], object]:
    return lambda: None


def slow_head(_process: Process, connection: socket.socket) -> Callable[[], object]:
    connection.sendall(b"GET /livez HTTP/1.1\r\n")
    return lambda: connection.send(b"a: b\r\n")


def slow_body(process: Process, connection: socket.socket) -> Callable[[], object]:
    headers = {"cv-api-key": process.tenant.key, "content-type": "application/json", "content-length": "100000"}
    connection.sendall(head("POST", f"/api/v1/cases/{process.tenant.case_id}", headers))
    return lambda: connection.send(b" ")


def slow_reader(_process: Process, connection: socket.socket) -> Callable[[], object]:
    # More than the kernel's own buffers hold: what these take is gone from the service, and costs it nothing.
    connection.sendall(head("GET", "/docs/assets/swagger-ui-bundle.js", {}) * 10)
    return lambda: connection.recv(1)


KINDS = (silent, slow_head, slow_body, slow_reader)


def attach(process: Process, clients: ExitStack) -> list[Callable[[], object]]:
    """Connect two hundred slow clients; what makes each of them go on a little."""
    steps = []
    for kind in KINDS * OF_EACH_KIND:
        connection = clients.enter_context(socket.socket())
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(DEADLINE_SECONDS)
        connection.connect(("127.0.0.1", process.service.port))
        steps.append(kind(process, connection))
    return steps


def test_two_hundred_slow_clients_hold_nobody_up_and_are_cut_off(process: Process) -> None:
    process.place_order()
    before = process.open_files()
    alone = sorted(process.place_order() for _ in range(20))
    with ExitStack() as clients:
        steps = attach(process, clients)
        wait_until(lambda: process.open_files() >= before + len(steps))
        waits = []
        for _ in range(20):
            waits.append(process.place_order())
            for step in steps:
                with suppress(ConnectionError):
                    step()
        assert sorted(waits)[10] < 3 * alone[10] + 0.05
        assert max(waits) < 1
        # The database may have opened a few files of its own meanwhile.
        wait_until(lambda: process.open_files() < before + OF_EACH_KIND // 2)
