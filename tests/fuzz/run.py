"""Fuzzes a real deployment over HTTP: `python -m tests.fuzz.run [--database KIND] [OPTIONS OF SCHEMATHESIS]`.

For each kind of database it starts the service with its worker, a sandbox pharmacy and a webhook receiver, and has
schemathesis run against them, with the keys of two organizations. It fails unless schemathesis found nothing, every
operation succeeded, every link of the contract was followed, the service never answered 5xx and is ready still, and a
run with a wrong key gets nowhere.
Reports and the service's log go to reports/fuzz/.
"""
# ruff: noqa: T201  a command speaks

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
from tests.support import keys as encryption_keys
from tests.support.postgres import ThrowawayPostgres
from tests.support.world import Tenant, populate

ROOT = Path(__file__).parents[2]
REPORTS = ROOT / "reports" / "fuzz"
KINDS = ("sqlite", "postgresql")

Keys = dict[str, str]
"""API keys by whose they are: ours, which requests are sent with, and theirs."""


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description="Fuzz a real deployment over HTTP.")
    parser.add_argument("--database", choices=KINDS, action="append", help="only this kind; may be given twice")
    chosen, options = parser.parse_known_args(arguments)
    encryption_keys.begin()
    faults = [f"{kind}: {fault}" for kind in chosen.database or KINDS for fault in fuzz(kind, options)]
    for fault in faults:
        print(f"FAULT {fault}")
    return 1 if faults else 0


def fuzz(kind: str, options: list[str]) -> list[str]:
    """Fuzz a deployment on a database of this kind; what is wrong."""
    with TemporaryDirectory(prefix="fuzz-") as folder, database_url(kind, Path(folder)) as url:
        world = World.create(Settings(data_dir=Path(folder), database_url=url, rate_failed_keys=""), new_key())
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
    shutil.rmtree(reports, ignore_errors=True)  # what an earlier run left must not be read as this one's
    async with deployed(world.settings.database_url, world.settings.data_dir) as deployment:
        them = Tenant("Another")
        _furnish(world.database, deployment, them)
        await deployment.service.start()
        await deployment.ready()
        started = time.monotonic()
        code, recorded = await _schemathesis(deployment, {"us": world.key, "them": them.key}, reports, options)
        _print(recorded, time.monotonic() - started)
        faults = [*_faults_of(code, recorded), *await _faults_of_a_wrong_key(deployment, reports / "wrong-key")]
        shutil.copy(deployment.service.log, reports)
        return faults + await _faults_at_the_end(deployment)


def _furnish(database: Database, deployment: Deployment, them: Tenant) -> None:
    """Add another organization, and lead pharmacies and webhooks to those of the deployment."""
    with database.transaction() as session:
        populate(session, them)
        for pharmacy in session.exec(select(Pharmacy)):
            pharmacy.base_url = deployment.pharmacy_url
        for webhook in session.exec(select(Webhook)):
            webhook.url = deployment.receiver.url


def _write_keys(path: Path, keys: Keys) -> None:
    """As Web Fuzzing Commons has it: https://github.com/WebFuzzing/Commons."""
    header = contract.resolved()["components"]["securitySchemes"]["ApiKey"]["name"]
    users = [{"name": name, "fixedHeaders": [{"name": header, "value": key}]} for name, key in keys.items()]
    path.write_text(json.dumps({"auth": users}))


async def _schemathesis(
    deployment: Deployment, keys: Keys, reports: Path, options: list[str]
) -> tuple[int, list[Recorded]]:
    """The exit code of one run with these API keys, and what it recorded."""
    key_file = deployment.settings.data_dir / "keys.json"
    _write_keys(key_file, keys)
    variables = {
        "FUZZ_ORIGIN": deployment.url,
        "FUZZ_KEY": keys["us"],
        "FUZZ_KEYS": str(key_file),
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
    keys = {"us": new_key(), "them": new_key()}
    code, recorded = await _schemathesis(deployment, keys, reports, ["--phases", "examples"])
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
