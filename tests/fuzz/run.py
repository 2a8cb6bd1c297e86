"""Fuzzes a real deployment over HTTP: `python -m tests.fuzz.run [--database KIND] [OPTIONS OF SCHEMATHESIS]`.

For each kind of database it starts the service with its worker, a sandbox pharmacy and a webhook receiver, has
schemathesis run against it, and fails unless the run was green, every operation succeeded, every link of the contract
was followed, the service never answered 5xx and is ready still. A short run with a wrong key must not get that far.
Reports go to reports/fuzz/.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
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
from case_orders.processes import environment
from case_orders.settings import Settings
from models import Pharmacy, Webhook
from tests.contract.world import World
from tests.fuzz import har
from tests.reliability.deployment import Deployment, deployed
from tests.support.postgres import ThrowawayPostgres

ROOT = Path(__file__).parents[2]
REPORTS = ROOT / "reports" / "fuzz"
KINDS = ("sqlite", "postgresql")
WRONG_KEY_RUN = ("--phases", "examples")


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
            return asyncio.run(_fuzz(kind, world, options))
        finally:
            world.database.dispose()


@contextmanager
def database_url(kind: str, folder: Path) -> Iterator[str]:
    if kind == "sqlite":
        yield f"sqlite:///{folder}/case-orders.db"
        return
    with ThrowawayPostgres() as server:
        yield server.create_database()


async def _fuzz(kind: str, world: World, options: list[str]) -> list[str]:
    async with deployed(world.settings.database_url, world.settings.data_dir) as deployment:
        _lead_to(deployment, world.database)
        await deployment.service.start()
        await deployment.ready()
        started = time.monotonic()
        faults = await _run(deployment, world.key, REPORTS / kind, options)
        print(f"{kind}: {time.monotonic() - started:.0f} s")
        wrong = await _run(deployment, new_key(), REPORTS / f"{kind}-wrong-key", [*options, *WRONG_KEY_RUN])
        if not any("never succeeded" in fault for fault in wrong):
            faults.append("a run with a wrong key passed")
        return faults + await _after(deployment)


def _lead_to(deployment: Deployment, database: Database) -> None:
    """Lead the example's pharmacy and webhook to those of the deployment."""
    with database.transaction() as session:
        for pharmacy in session.exec(select(Pharmacy)):
            pharmacy.base_url = deployment.pharmacy_url
        for webhook in session.exec(select(Webhook)):
            webhook.url = deployment.receiver.url


async def _run(deployment: Deployment, key: str, reports: Path, options: list[str]) -> list[str]:
    """One run of schemathesis; what is wrong with it, by its exit code and its record."""
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
    code = await process.wait()
    recorded = har.read(reports / "requests.har")
    _print(recorded)
    return [
        *([f"schemathesis ended with {code}"] if code else []),
        *(f"{operation} never succeeded" for operation in sorted(har.never_succeeded(recorded))),
        *(f"the link from {link.source} to {link.target} was not followed" for link in har.never_followed(recorded)),
    ]


def _print(recorded: list[har.Recorded]) -> None:
    for operation, counted in har.statuses(recorded).items():
        print(f"  {operation:24} {', '.join(f'{n} x {status}' for status, n in sorted(counted.items()))}")
    print(f"  {len(recorded)} requests")


async def _after(deployment: Deployment) -> list[str]:
    """What the service itself has to say at the end."""
    async with httpx2.AsyncClient() as client:
        ready = await client.get(f"{deployment.url}/readyz")
    lines = [json.loads(line) for line in deployment.service.log.read_text().splitlines() if line.startswith("{")]
    failed = Counter(line["status"] for line in lines if line.get("status", 0) >= 500)
    return [
        *([] if ready.status_code == 200 else [f"not ready: {ready.text}"]),
        *(f"the log has {count} answers with {status}" for status, count in failed.items()),
    ]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
