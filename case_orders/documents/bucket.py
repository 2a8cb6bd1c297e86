"""Documents in S3, Google Cloud Storage or Azure, or in memory.

Credentials and endpoints come from the environment, by the names of each provider's own tools.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from obstore.exceptions import (
    AlreadyExistsError,
    BaseError,
    PermissionDeniedError,
    UnauthenticatedError,
)
from obstore.store import MemoryStore, ObjectStore, from_url

from case_orders.documents.errors import DocumentMissing, StoreUnavailable


class Bucket:
    """Objects below the URL's prefix. The credentials must allow to put, get and list. ValueError for a bad URL."""

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")
        self._objects = _open(url)

    async def create(self, key: str, data: bytes) -> bool:
        with _bucket_errors():
            try:
                await self._objects.put_async(key, data, mode="create", use_multipart=False)
            except AlreadyExistsError:
                return False
            return True

    async def replace(self, key: str, data: bytes) -> None:
        with _bucket_errors():
            await self._objects.put_async(key, data, mode="overwrite", use_multipart=False)

    async def read(self, key: str, most: int | None = None) -> bytes:
        with _bucket_errors():
            try:
                result = await self._objects.get_async(key, options={} if most is None else {"range": (0, most)})
            except FileNotFoundError:
                raise DocumentMissing from None
            return bytes(await result.bytes_async())

    async def check(self) -> None:
        with _bucket_errors():
            await self._objects.list_with_delimiter_async("readiness")

    def location(self, key: str) -> str:
        return f"{self._url}/{key}"


def _open(url: str) -> ObjectStore:
    if url.startswith("memory:"):
        return MemoryStore()
    try:
        # No client options: they would replace those of the environment, such as AWS_ALLOW_HTTP.
        return from_url(url, retry_config={"max_retries": 2, "retry_timeout": timedelta(seconds=30)})
    except BaseError as error:
        raise ValueError("the document store's URL or its settings in the environment are not complete") from error


@contextmanager
def _bucket_errors() -> Iterator[None]:
    # The errors themselves name the bucket and the key.
    try:
        yield
    except FileNotFoundError:
        raise StoreUnavailable("bucket was not found") from None
    except PermissionDeniedError:
        raise StoreUnavailable("permission denied") from None
    except UnauthenticatedError:
        raise StoreUnavailable("credentials were refused") from None
    except BaseError:
        raise StoreUnavailable("store could not be reached or did not answer as it should") from None
