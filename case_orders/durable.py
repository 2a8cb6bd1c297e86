"""Files that are whole or not there at all, for their owner alone, and still there after a power cut."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkstemp


def create(path: Path, data: bytes) -> bool:
    """Give `data` this name unless it is taken; False if it was. Whoever took it, the name is on the disk by then."""
    # Nothing is written beside a file that is there: a full disk keeps nobody from it.
    created = not path.exists() and _link(path, data)
    # Also where the name was taken: whoever took it may have died before this.
    sync_directory(path.parent)
    return created


def _link(path: Path, data: bytes) -> bool:
    with _nameless(path.parent, data) as name:
        try:
            # Told a directory, Python links by linkat, which alone can follow the way to a nameless file.
            os.link(name, path, src_dir_fd=0)
        except FileExistsError:
            return False
    return True


def replace(path: Path, data: bytes) -> None:
    """Put `data` in the place of the file; who reads it meanwhile gets the one or the other."""
    with _named(path.parent, data) as name:
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
def _nameless(directory: Path, data: bytes) -> Iterator[str]:
    """A way to a file whose bytes are on the disk; it has no name, so that a process that is killed leaves nothing."""
    try:
        descriptor = os.open(directory, os.O_TMPFILE | os.O_WRONLY, 0o600)
    except (AttributeError, OSError):  # neither every system nor every file system has them
        with _named(directory, data) as name:
            yield name
        return
    with _written(descriptor, data):
        yield f"/proc/self/fd/{descriptor}"


@contextmanager
def _named(directory: Path, data: bytes) -> Iterator[str]:
    """A file of a passing name whose bytes are on the disk."""
    descriptor, name = mkstemp(dir=directory, prefix=".")
    try:
        with _written(descriptor, data):
            yield name
    finally:
        Path(name).unlink(missing_ok=True)


@contextmanager
def _written(descriptor: int, data: bytes) -> Iterator[None]:
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
        yield
