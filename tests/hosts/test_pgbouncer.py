"""pgbouncer in transaction mode stands before PostgreSQL: every transaction may get another connection."""

import os
import pwd
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from case_orders import migrations
from case_orders.db import Database
from case_orders.edge.server import free_port
from tests.fulfillment.house import open_house
from tests.support.postgres import ThrowawayPostgres

CONFIGURATION = """
[databases]
* = host=127.0.0.1 port={server} user=postgres
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
auth_type = any
pool_mode = transaction
default_pool_size = 3
ignore_startup_parameters = extra_float_digits
unix_socket_dir =
logfile = {folder}/pgbouncer.log
"""


@pytest.fixture
def pooled(postgres: ThrowawayPostgres, tmp_path: Path) -> Iterator[str]:
    """The URL of a database behind pgbouncer, which has fewer connections to it than one process of ours."""
    port, nobody = free_port(), pwd.getpwnam("nobody")
    folder = tmp_path / "pgbouncer"
    folder.mkdir()
    for path in (folder, *folder.parents[:3]):
        path.chmod(0o755)
    os.chown(folder, nobody.pw_uid, nobody.pw_gid)
    (folder / "pgbouncer.ini").write_text(CONFIGURATION.format(server=postgres.port, port=port, folder=folder))
    command = ["pgbouncer", str(folder / "pgbouncer.ini")]
    process = subprocess.Popen(command, user=nobody.pw_uid, group=nobody.pw_gid, stderr=subprocess.DEVNULL)
    name = postgres.create_database().rpartition("/")[2]
    url = f"postgresql://postgres@127.0.0.1:{port}/{name}"
    try:
        _wait_for(url)
        yield f"{url}?pooler=transaction"
    finally:
        process.terminate()
        process.wait()


def _wait_for(url: str) -> None:
    deadline = time.monotonic() + 10
    while True:
        try:
            psycopg.connect(url, connect_timeout=2).close()
        except psycopg.OperationalError:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        else:
            return


async def test_migrations_api_and_worker_work_behind_it(pooled: str, tmp_path: Path) -> None:
    database = Database(pooled)
    migrations.upgrade(database.engine)
    database.dispose()
    async with open_house(pooled, tmp_path) as house:
        clinic = house.clinic()
        orders = [await clinic.place() for _ in range(20)]
        for order_id in orders:
            await clinic.until(order_id, status="COMPLETED", document_status="STORED")


def test_without_saying_that_it_is_there_it_refuses_us(pooled: str) -> None:
    database = Database(pooled.partition("?")[0])
    with pytest.raises(Exception, match="unsupported startup parameter"):
        migrations.upgrade(database.engine)
    database.dispose()
