"""Files that are whole or not there at all, for their owner alone, and still there after a power cut."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkstemp


def create(path: Path, data: bytes) -> bool:
    """Give `data` this name unless it is taken; False if it was. Whoever took it, the name is on the disk by then."""
    with _written(path.parent, data) as name:
        try:
            os.link(name, path)
        except FileExistsError:
            created = False
        else:
            created = True
    # Also where the name was taken: whoever took it may have died before this.
    sync_directory(path.parent)
    return created


def replace(path: Path, data: bytes) -> None:
    """Put `data` in the place of the file; who reads it meanwhile gets the one or the other."""
    with _written(path.parent, data) as name:
        Path(name).replace(path)
    sync_directory(path.parent)


def make_directory(path: Path) -> None:
    """Make a directory unless it is there."""
    if not path.is_dir():
        path.mkdir(parents=True, exist_ok=True)
        sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """See to it that the names in a directory are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _written(directory: Path, data: bytes) -> Iterator[str]:
    """A file of a passing name whose bytes are on the disk."""
    descriptor, name = mkstemp(dir=directory, prefix=".")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        yield name
    finally:
        Path(name).unlink(missing_ok=True)
