"""Documents in a directory of this machine.

Not by obstore's LocalStore: it syncs nothing, and to sync after it is too late. A power cut between its link and our
sync would leave an empty file under the document's name, which no retry may overwrite.
"""

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import TypeVar

from case_orders import durable
from case_orders.documents.errors import DocumentMissing, StoreUnavailable

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

    async def replace(self, key: str, data: bytes) -> None:
        await self._in_thread(lambda: _replace(self._root / key, data))

    async def read(self, key: str, most: int | None = None) -> bytes:
        return await self._in_thread(lambda: _read(self._root / key, most))

    async def check(self) -> None:
        await self._in_thread(self._probe)

    def location(self, key: str) -> str:
        return str(self._root / key)

    async def _in_thread(self, work: Callable[[], Result]) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    def _create(self, path: Path, data: bytes) -> bool:
        with _disk_errors():
            durable.make_directory(self._root)
            path.parent.mkdir(parents=True, exist_ok=True)
            created = durable.create(path, data)
            for directory in path.parents[1 : len(path.relative_to(self._root).parts)]:
                durable.sync_directory(directory)
            return created

    def _probe(self) -> None:
        with _disk_errors():
            durable.make_directory(self._root)
            with TemporaryFile(dir=self._root) as file:
                file.write(b"probe")


def _replace(path: Path, data: bytes) -> None:
    with _disk_errors():
        durable.replace(path, data)


def _read(path: Path, most: int | None) -> bytes:
    with _disk_errors():
        try:
            with path.open("rb") as file:
                return file.read(-1 if most is None else most)
        except FileNotFoundError:
            raise DocumentMissing from None


@contextmanager
def _disk_errors() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        # The error itself names the path.
        raise StoreUnavailable((error.strerror or "disk error").lower()) from None
