"""Documents in a directory of this machine.

Not by obstore's LocalStore: it syncs nothing, and to sync after it is too late. A power cut between its link and our
sync would leave an empty file under the document's name, which no retry may overwrite.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile, TemporaryFile
from typing import BinaryIO, TypeVar

from case_orders.documents.errors import DocumentMissing, StoreUnavailable

_CHUNK_SIZE = 256 * 1024
_THREADS = 8

Result = TypeVar("Result")


class Directory:
    """Files below `root` that the service's user alone may read. `root` is made when it is needed.

    It works in threads of its own, so that a disk waits for nothing but itself.
    """

    def __init__(self, root: Path) -> None:
        self._root = root.absolute()
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="documents")

    async def create(self, key: str, data: bytes) -> bool:
        return await self._in_thread(lambda: self._create(self._root / key, data))

    async def get(self, key: str) -> AsyncIterator[bytes]:
        return self._chunks(await self._in_thread(lambda: _open(self._root / key)))

    async def check(self) -> None:
        await self._in_thread(self._probe)

    def location(self, key: str) -> str:
        return str(self._root / key)

    async def _in_thread(self, work: Callable[[], Result]) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    async def _chunks(self, file: BinaryIO) -> AsyncIterator[bytes]:
        with file, _disk_errors():
            while chunk := await self._in_thread(lambda: file.read(_CHUNK_SIZE)):
                yield chunk

    def _create(self, path: Path, data: bytes) -> bool:
        with _disk_errors():
            self._make_root()
            path.parent.mkdir(parents=True, exist_ok=True)
            created = _link_durably(path, data)
            # Also where the name was taken: whoever took it may have died before this.
            for directory in path.parents[: len(path.relative_to(self._root).parts)]:
                _sync_directory(directory)
            return created

    def _probe(self) -> None:
        with _disk_errors():
            self._make_root()
            with TemporaryFile(dir=self._root) as file:
                file.write(b"probe")

    def _make_root(self) -> None:
        if not self._root.is_dir():
            self._root.mkdir(parents=True, exist_ok=True)
            _sync_directory(self._root.parent)


def _link_durably(path: Path, data: bytes) -> bool:
    """Gives the bytes their name only once they are on the disk; False if the name is taken."""
    with NamedTemporaryFile(dir=path.parent, prefix=".") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
        try:
            os.link(file.name, path)
        except FileExistsError:
            return False
        return True


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _open(path: Path) -> BinaryIO:
    with _disk_errors():
        try:
            return path.open("rb")
        except FileNotFoundError:
            raise DocumentMissing from None


@contextmanager
def _disk_errors() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        # The error itself names the path.
        raise StoreUnavailable((error.strerror or "disk error").lower()) from None
