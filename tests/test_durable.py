"""Files that are whole or not there."""

import os
import resource
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from case_orders import durable


def test_a_file_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "file"
    assert durable.create(path, b"first")
    assert not durable.create(path, b"second")
    assert path.read_bytes() == b"first"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_full_disk_keeps_nobody_from_a_file_that_is_there(tmp_path: Path) -> None:
    path = tmp_path / "file"
    durable.create(path, b"first")
    with _no_room():
        assert not durable.create(path, b"second")
        with pytest.raises(OSError, match="too large"):
            durable.create(tmp_path / "other", b"first")


@contextmanager
def _no_room() -> Iterator[None]:
    """As on a full disk, this process writes no byte into a file."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_of_many_that_make_a_file_at_once_one_does(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda number: durable.create(tmp_path / "file", bytes([number])), range(32)))
    assert (tmp_path / "file").read_bytes() == bytes([made.index(True)])
    assert made.count(True) == 1


def test_a_file_that_is_replaced_leaves_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "file"
    durable.create(path, b"first")
    durable.replace(path, b"second")
    assert path.read_bytes() == b"second"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_who_is_killed_while_making_a_file_leaves_nothing(tmp_path: Path) -> None:
    killed = "import os, signal; os.fsync = lambda descriptor: os.kill(os.getpid(), signal.SIGKILL)"
    code = f"{killed}\nfrom pathlib import Path\nfrom case_orders import durable\ndurable.create(Path('file'), b'data')"
    assert subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=False).returncode == -signal.SIGKILL
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_made_where_none_can_be_without_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "O_TMPFILE")
    path = tmp_path / "file"
    assert durable.create(path, b"first")
    assert not durable.create(path, b"second")
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_bytes() == b"first"
