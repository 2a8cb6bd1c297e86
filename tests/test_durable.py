"""Files that are whole or not there."""

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from case_orders import durable


def test_a_file_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "file"
    assert durable.create(path, b"first")
    assert not durable.create(path, b"second")
    assert path.read_bytes() == b"first"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


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
