"""Fuzzes a real deployment over HTTP: `python -m tests.fuzz.run [--database KIND] [OPTIONS OF SCHEMATHESIS]`.

For each kind of database it starts the service with its worker, a sandbox pharmacy and a webhook receiver, and has
schemathesis run against them. It fails unless schemathesis found nothing, every operation succeeded, every link of the
contract was followed, the service never answered 5xx and is ready still, and a run with a wrong key gets nowhere.
Reports and the service's log go to reports/fuzz/.
"""
# ruff: noqa: T201  a command speaks

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx2
from sqlmodel import select

from case_orders.auth import new_key
from case_orders.db import Database
from case_orders.edge import contract
from case_orders.processes import environment
from case_orders.settings import Settings
from models import Pharmacy, Webhook
from tests.contract.world import World
from tests.fuzz import har
from tests.fuzz.har import Recorded
from tests.reliability.deployment import Deployment, deployed
from tests.support.postgres import ThrowawayPostgres

ROOT = Path(__file__).parents[2]
REPORTS = ROOT / "reports" / "fuzz"
KINDS = ("sqlite", "postgresql")


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description="Fuzz a real deployment over HTTP.")
    parser.add_argument("--database", choices=KINDS, action="append", help="only this kind; may be given twice")
    chosen, options = parser.parse_known_args(arguments)
    faults = [f"{kind}: {fault}" for kind in chosen.database or KINDS for fault in fuzz(kind, options)]
    for fault in faults:
        print(f"FAULT {fault}")
    return 1 if faults else 0


def fuzz(kind: str, options: list[str]) -> list[str]:
    """Fuzz a deployment on a database of this kind; what is wrong."""
    with TemporaryDirectory(prefix="fuzz-") as folder, database_url(kind, Path(folder)) as url:
        world = World.create(Settings(data_dir=Path(folder), database_url=url), new_key())
        try:
            return asyncio.run(_fuzz(world, options, REPORTS / kind))
        finally:
            world.database.dispose()


@contextmanager
def database_url(kind: str, folder: Path) -> Iterator[str]:
    if kind == "sqlite":
        yield f"sqlite:///{folder}/case-orders.db"
        return
    with ThrowawayPostgres() as server:
        yield server.create_database()


async def _fuzz(world: World, options: list[str], reports: Path) -> list[str]:
    async with deployed(world.settings.database_url, world.settings.data_dir) as deployment:
        _lead_to(deployment, world.database)
        await deployment.service.start()
        await deployment.ready()
        started = time.monotonic()
        code, recorded = await _schemathesis(deployment, world.key, reports, options)
        _print(recorded, time.monotonic() - started)
        faults = [*_faults_of(code, recorded), *await _faults_of_a_wrong_key(deployment, reports / "wrong-key")]
        shutil.copy(deployment.service.log, reports)
        return faults + await _faults_at_the_end(deployment)


def _lead_to(deployment: Deployment, database: Database) -> None:
    """Lead the example's pharmacy and webhook to those of the deployment."""
    with database.transaction() as session:
        for pharmacy in session.exec(select(Pharmacy)):
            pharmacy.base_url = deployment.pharmacy_url
        for webhook in session.exec(select(Webhook)):
            webhook.url = deployment.receiver.url


async def _schemathesis(
    deployment: Deployment, key: str, reports: Path, options: list[str]
) -> tuple[int, list[Recorded]]:
    """The exit code of one run, and what it recorded."""
    variables = {
        "FUZZ_ORIGIN": deployment.url,
        "FUZZ_KEY": key,
        "FUZZ_RECEIVER": deployment.receiver.url,
        "FUZZ_REPORTS": str(reports),
    }
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "schemathesis.cli", "run", f"{deployment.url}/openapi.yaml", *options),
        env={**os.environ, **environment(deployment.settings), **variables},
        cwd=ROOT,
    )
    return await process.wait(), har.read(reports / "requests.har")


def _print(recorded: list[Recorded], seconds: float) -> None:
    for operation, counted in har.statuses(recorded).items():
        print(f"  {operation:24} {', '.join(f'{n} x {status}' for status, n in sorted(counted.items()))}")
    print(f"  {len(recorded)} requests in {seconds:.0f} s")


def _faults_of(code: int, recorded: list[Recorded]) -> list[str]:
    return [
        *([f"schemathesis ended with {code}"] if code else []),
        *(f"{operation} never succeeded" for operation in sorted(har.never_succeeded(recorded))),
        *(f"no link was followed from {link.source} to {link.target}" for link in har.never_followed(recorded)),
    ]


async def _faults_of_a_wrong_key(deployment: Deployment, reports: Path) -> list[str]:
    """A run that could not pass with a wrong key cannot have passed on refusals alone."""
    code, recorded = await _schemathesis(deployment, new_key(), reports, ["--phases", "examples"])
    with_key = {name for name, operation in contract.operations().items() if operation.needs_key}
    return [] if code and har.never_succeeded(recorded) >= with_key else ["a run with a wrong key passed"]


async def _faults_at_the_end(deployment: Deployment) -> list[str]:
    """What the service itself has to say."""
    async with httpx2.AsyncClient() as client:
        ready = await client.get(f"{deployment.url}/readyz")
    lines = [json.loads(line) for line in deployment.service.log.read_text().splitlines() if line.startswith("{")]
    failed = Counter(line["status"] for line in lines if line["event"] == "request" and line["status"] >= 500)
    answered = any(line["event"] == "request" for line in lines)
    return [
        *([] if ready.status_code == 200 else [f"not ready: {ready.text}"]),
        *([] if answered else ["the log has no requests"]),
        *(f"the log has {count} answers with {status}" for status, count in failed.items()),
    ]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
