"""Heavy bodies: how long another request waits at most while one of them is answered."""

import copy
import http.client
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from bench.figures import Spread, Verdict, short
from bench.plan import Plan
from bench.programs import OURS, Program, Stage
from bench.report import Section
from bench.world import Tenant, order

REPEATS = 20
MOST_BYTES = 256 * 1024


@dataclass(frozen=True)
class Heavy:
    """A body, and the status and number of problems that it is answered with."""

    name: str
    body: bytes
    status: int = 200
    problems: int = 0


def bodies() -> list[Heavy]:
    """What costs much to check, within the contract's bounds."""
    many, wrong, long = copy.deepcopy(order()), copy.deepcopy(order()), copy.deepcopy(order())
    item = many["order"]["prescriptionItems"][0]
    many["order"]["prescriptionItems"] = [item] * 100
    wrong["order"]["prescriptionItems"] = [item | {"quantity": "0"}] * 22
    fields = long["order"]["prescriptionItems"][0]["customFields"] = {"text": ""}
    fields["text"] = "x" * (MOST_BYTES - len(json.dumps(long)))
    return [
        Heavy("100 items", json.dumps(many).encode()),
        Heavy("22 faults", json.dumps(wrong).encode(), 400, 22),
        Heavy("256 KiB", json.dumps(long).encode()),
    ]


def measure(stage: Stage, _plan: Plan) -> list[Section]:
    section = Section(
        f"Heavy bodies, {stage.databases.kind}", ["Body", "answered within ms", "longest wait of another request, ms"]
    )
    with stage.started(OURS) as program, _probing(program, stage.world.tenants[0]) as probe:
        time.sleep(1)
        section.rows.append(["none", "", short(max(probe.waits.copy()))])
        for heavy in bodies():
            taken, longest = _send(program, stage.world.tenants[1], heavy, probe)
            section.rows.append([heavy.name, str(taken), str(longest)])
            worst = Spread(longest.greatest, longest.least, longest.greatest)
            section.verdicts.append(Verdict(f"{heavy.name}: longest wait, ms", worst, 150, at_most=True))
    return [section]


@dataclass
class Probe:
    """Asks for a page of orders again and again; the milliseconds that each answer took."""

    waits: list[float] = field(default_factory=list)
    stop: bool = False

    def run(self, program: Program, tenant: Tenant) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", program.port)
        while not self.stop:
            begun = time.perf_counter()
            status, _ = _ask(connection, "GET", "/api/v1/orders?limit=1", tenant.key)
            self.waits.append(1000 * (time.perf_counter() - begun))
            assert status == 200
        connection.close()


@contextmanager
def _probing(program: Program, tenant: Tenant) -> Iterator[Probe]:
    probe = Probe()
    thread = threading.Thread(target=probe.run, args=(program, tenant))
    thread.start()
    try:
        yield probe
    finally:
        probe.stop = True
        thread.join()


def _send(program: Program, tenant: Tenant, heavy: Heavy, probe: Probe) -> tuple[Spread, Spread]:
    """How long each of the repeats took, and the longest wait of the probe meanwhile."""
    taken, longest = [], []
    connection = http.client.HTTPConnection("127.0.0.1", program.port)
    for _ in range(REPEATS):
        done, begun = len(probe.waits), time.perf_counter()
        status, answer = _ask(connection, "POST", f"/api/v1/cases/{tenant.cases[0]}", tenant.key, heavy.body)
        taken.append(1000 * (time.perf_counter() - begun))
        if (status, len(answer.get("details", ()))) != (heavy.status, heavy.problems):
            raise RuntimeError(f"{heavy.name} was answered with {status}: {answer}")
        while len(probe.waits) == done:  # the one that was under way belongs to it
            time.sleep(0.001)
        longest.append(max(probe.waits[done:]))
    connection.close()
    return Spread.of(taken), Spread.of(longest)


def _ask(
    connection: http.client.HTTPConnection, method: str, path: str, key: str, body: bytes | None = None
) -> tuple[int, dict[str, Any]]:
    connection.request(method, path, body, {"cv-api-key": key, "Content-Type": "application/json"})
    answer = connection.getresponse()
    return answer.status, json.loads(answer.read())
