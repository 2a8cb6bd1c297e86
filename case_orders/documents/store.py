"""Stored documents: written once, never changed, sealed, there after a power cut.

Keys are ids joined by slashes, such as `{organizationId}/{orderId}/{documentId}.pdf`; any other key is a ValueError.
"""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Protocol, Self
from urllib.parse import unquote, urlsplit

from case_orders import keyring
from case_orders.documents.bucket import Bucket
from case_orders.documents.directory import Directory
from case_orders.documents.errors import DocumentExists, StoreUnavailable

WRITE_SECONDS = 30
READ_SECONDS = 15
_CHECK_SECONDS = 5

_KEY = re.compile(r"[0-9A-Za-z_-]+(/[0-9A-Za-z_-]+)*(\.[0-9A-Za-z]+)?")


class Place(Protocol):
    """Where the bytes are kept."""

    async def create(self, key: str, data: bytes) -> bool:
        """Stores `data` for good under a key that is free; False if it is taken."""

    async def replace(self, key: str, data: bytes) -> None:
        """Puts `data` in the place of what is stored, for good."""

    async def read(self, key: str, most: int | None = None) -> bytes:
        """The first `most` bytes, or all; DocumentMissing."""

    async def check(self) -> None: ...

    def location(self, key: str) -> str: ...


class DocumentStore:
    """Create-only storage over a directory, a bucket or memory. What is kept there is sealed for its key."""

    def __init__(self, place: Place) -> None:
        self._place = place

    @classmethod
    def open(cls, url: str) -> Self:
        """The store at `url`: a path, `file:///path`, `memory:///`, `s3://`, `gs://` or `az://`.

        Touches neither disk nor network. Raises ValueError if the URL or, for a bucket, the settings in the
        environment will not do.
        """
        parts = urlsplit(url)
        match parts.scheme:
            case "memory" | "s3" | "gs" | "az":
                return cls(Bucket(url))
            case "file" if not parts.netloc and parts.path:
                return cls(Directory(Path(unquote(parts.path))))
            case "" if url:
                return cls(Directory(Path(url)))
        raise ValueError("a document store is a path, file:///path, memory:///, s3://, gs:// or az://")

    async def put(self, key: str, data: bytes) -> None:
        """Stores `data` for good before it returns; once more with the same bytes changes nothing.

        Raises DocumentExists if other bytes are stored under `key`, and StoreUnavailable.
        """
        async with _within(WRITE_SECONDS):
            sealed = keyring.installed().seal(data, _context(key))
            if not await self._place.create(key, sealed) and await self.read(key) != data:
                raise DocumentExists

    async def read(self, key: str) -> bytes:
        """The whole document; raises DocumentMissing, StoreUnavailable and SealBroken."""
        async with _within(READ_SECONDS):
            sealed = await self._place.read(_checked(key))
        return keyring.installed().open(sealed, _context(key))

    async def sealed_under(self, key: str) -> str:
        """The id of the key that sealed the document; raises as `read` does."""
        async with _within(READ_SECONDS):
            return keyring.sealed_under(await self._place.read(_checked(key), keyring.LONGEST_HEADER))

    async def reseal(self, key: str) -> None:
        """Seals the same bytes anew; raises as `read` does."""
        data = await self.read(key)
        async with _within(WRITE_SECONDS):
            await self._place.replace(key, keyring.installed().seal(data, _context(key)))

    async def check(self) -> None:
        """Raises StoreUnavailable if the store cannot be used now."""
        async with _within(_CHECK_SECONDS):
            await self._place.check()

    def location(self, key: str) -> str:
        """Where a person finds the document: a path or a URL."""
        return self._place.location(_checked(key))


def _checked(key: str) -> str:
    if not _KEY.fullmatch(key):
        raise ValueError("a document's key is made of ids joined by slashes")
    return key


def _context(key: str) -> str:
    return f"document/{_checked(key)}"


@asynccontextmanager
async def _within(seconds: float) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise StoreUnavailable(f"took longer than {seconds:g} s") from None
