import asyncio
import os
import resource
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from aiohttp.test_utils import RawTestServer

from case_orders import keyring
from case_orders.documents import (
    DocumentExists,
    DocumentMissing,
    DocumentStore,
    StoreUnavailable,
)
from case_orders.keyring import SealBroken, UnknownKey
from tests.documents.bucket_server import BucketServer
from tests.support import keys

KEY = "018f-org/018f-order/018f-document.pdf"


@pytest.fixture
async def bucket(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[BucketServer]:
    bucket = BucketServer()
    async with RawTestServer(bucket.answer) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", str(server.make_url("")).rstrip("/"))
        monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
        monkeypatch.setenv("AWS_REGION", "us-east-1")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        yield bucket


@pytest.fixture(params=["directory", "memory", "bucket"])
def store(request: pytest.FixtureRequest, bucket: BucketServer, tmp_path: Path) -> DocumentStore:
    urls = {
        "directory": (tmp_path / "documents").as_uri(),
        "memory": "memory:///",
        "bucket": "s3://bucket/prefix",
    }
    return DocumentStore.open(urls[request.param])


class TestAnyStore:
    async def test_gives_back_what_was_put(self, store: DocumentStore) -> None:
        data = os.urandom(700_000)
        await store.put(KEY, data)
        assert await store.read(KEY) == data

    async def test_keeps_an_empty_document(self, store: DocumentStore) -> None:
        await store.put(KEY, b"")
        assert await store.read(KEY) == b""

    async def test_takes_the_same_bytes_again(self, store: DocumentStore) -> None:
        await store.put(KEY, b"first")
        await store.put(KEY, b"first")
        assert await store.read(KEY) == b"first"

    async def test_never_replaces_a_document(self, store: DocumentStore) -> None:
        await store.put(KEY, b"first")
        with pytest.raises(DocumentExists):
            await store.put(KEY, b"other")
        assert await store.read(KEY) == b"first"

    async def test_keeps_one_of_two_documents_put_at_once(self, store: DocumentStore) -> None:
        documents = [bytes([n]) * 100_000 for n in range(8)]
        outcomes = await asyncio.gather(*(store.put(KEY, data) for data in documents), return_exceptions=True)
        assert [type(outcome) for outcome in outcomes if outcome] == [DocumentExists] * 7
        assert await store.read(KEY) == documents[outcomes.index(None)]

    async def test_says_that_a_document_is_missing(self, store: DocumentStore) -> None:
        with pytest.raises(DocumentMissing):
            await store.read(KEY)
        with pytest.raises(DocumentMissing):
            await store.sealed_under(KEY)
        with pytest.raises(DocumentMissing):
            await store.reseal(KEY)

    async def test_knows_the_key_of_a_document_and_seals_it_anew(self, store: DocumentStore) -> None:
        old, new = (keyring.new_entry() for _ in range(2))
        ring = keys.use(old)
        await store.put(KEY, b"data")
        assert await store.sealed_under(KEY) == ring.current
        ring = keys.use(new, old)
        assert await store.sealed_under(KEY) != ring.current
        await store.reseal(KEY)
        assert await store.sealed_under(KEY) == ring.current
        keys.use(new)
        assert await store.read(KEY) == b"data"

    async def test_takes_the_same_bytes_again_after_a_change_of_keys(self, store: DocumentStore) -> None:
        old, new = (keyring.new_entry() for _ in range(2))
        keys.use(old)
        await store.put(KEY, b"first")
        keys.use(new, old)
        await store.put(KEY, b"first")
        with pytest.raises(DocumentExists):
            await store.put(KEY, b"other")

    async def test_gives_nothing_away_without_the_key(self, store: DocumentStore) -> None:
        await store.put(KEY, b"data")
        keys.use(keyring.new_entry())
        with pytest.raises(UnknownKey):
            await store.read(KEY)

    async def test_is_ready(self, store: DocumentStore) -> None:
        await store.check()

    @pytest.mark.parametrize(
        "key",
        [
            "",
            "/etc/passwd",
            "a/../b",
            "../a",
            "a//b",
            "a/",
            ".hidden",
            "a\n",
            "a b",
            "a/é",
        ],
    )
    async def test_refuses_a_key_that_is_not_made_of_ids(self, store: DocumentStore, key: str) -> None:
        with pytest.raises(ValueError, match="made of ids"):
            await store.put(key, b"")
        with pytest.raises(ValueError, match="made of ids"):
            await store.read(key)


class TestADirectory:
    async def test_has_the_bytes_on_disk_before_they_get_their_name(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        root = tmp_path / "documents"
        synced, named_early = spy_on_fsync(monkeypatch, root / KEY)
        await DocumentStore.open(str(root)).put(KEY, b"data")
        assert synced[0] == tmp_path  # which now names the root
        assert not synced[1].exists()  # what had no name yet
        assert synced[2:] == [(root / KEY).parents[0], (root / KEY).parents[1], root]
        assert not named_early

    async def test_syncs_again_for_a_writer_that_died_after_naming_the_document(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store = DocumentStore.open(str(tmp_path))
        await store.put(KEY, b"data")
        synced, _ = spy_on_fsync(monkeypatch, tmp_path / KEY)
        await store.put(KEY, b"data")
        assert synced[-1] == tmp_path

    async def test_holds_nothing_but_the_document_in_the_end(self, tmp_path: Path) -> None:
        store = DocumentStore.open(str(tmp_path))
        await store.put(KEY, b"data")
        with pytest.raises(DocumentExists):
            await store.put(KEY, b"other")
        await store.check()
        assert files_below(tmp_path) == [tmp_path / KEY]

    async def test_lets_nobody_else_read_a_document(self, tmp_path: Path) -> None:
        await DocumentStore.open(str(tmp_path)).put(KEY, b"data")
        assert (tmp_path / KEY).stat().st_mode & 0o077 == 0

    async def test_may_have_spaces_in_its_url(self, tmp_path: Path) -> None:
        store = DocumentStore.open((tmp_path / "my documents").as_uri())
        await store.put(KEY, b"data")
        assert (tmp_path / "my documents" / KEY).is_file()

    async def test_holds_no_document_as_it_is(self, tmp_path: Path) -> None:
        await DocumentStore.open(str(tmp_path)).put(KEY, b"%PDF-1.7 Hypertension")
        content = (tmp_path / KEY).read_bytes()
        assert b"%PDF" not in content
        assert b"Hypertension" not in content

    async def test_does_not_open_a_document_in_the_place_of_another(self, tmp_path: Path) -> None:
        store, other = DocumentStore.open(str(tmp_path)), KEY.replace("document", "other")
        await store.put(KEY, b"data")
        (tmp_path / KEY).rename(tmp_path / other)
        with pytest.raises(SealBroken):
            await store.read(other)
        with pytest.raises(SealBroken):
            await store.put(other, b"data")

    async def test_does_not_wait_for_other_work_that_hangs(self, tmp_path: Path) -> None:
        store, released = DocumentStore.open(str(tmp_path)), threading.Event()
        hanging = [asyncio.create_task(asyncio.to_thread(released.wait)) for _ in range(40)]
        try:
            async with asyncio.timeout(5):
                await store.put(KEY, b"data")
                assert await store.read(KEY) == b"data"
                await store.check()
        finally:
            released.set()
            await asyncio.gather(*hanging)

    def test_tells_a_person_the_path(self, tmp_path: Path) -> None:
        assert DocumentStore.open(str(tmp_path)).location(KEY) == str(tmp_path / KEY)

    async def test_that_cannot_be_written_is_not_ready(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        store = DocumentStore.open(str(tmp_path / "file" / "documents"))
        with pytest.raises(StoreUnavailable) as caught:
            await store.check()
        assert caught.value.reason == "not a directory"
        with pytest.raises(StoreUnavailable):
            await store.put(KEY, b"data")
        with pytest.raises(StoreUnavailable):
            await store.read(KEY)

    @pytest.fixture
    def tight_disk(self) -> Iterator[None]:
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
        yield
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    async def test_that_cannot_hold_a_document_keeps_no_part_of_it(self, tmp_path: Path, tight_disk: None) -> None:
        store = DocumentStore.open(str(tmp_path))
        with pytest.raises(StoreUnavailable):
            await store.put(KEY, bytes(100_000))
        assert files_below(tmp_path) == []


class TestABucket:
    async def test_keeps_documents_below_the_prefix(self, bucket: BucketServer) -> None:
        store = DocumentStore.open("s3://bucket/prefix/")
        await store.put(KEY, b"data")
        assert list(bucket.objects) == [f"/bucket/prefix/{KEY}"]
        assert store.location(KEY) == f"s3://bucket/prefix/{KEY}"

    @pytest.mark.parametrize(
        ("status", "reason"),
        [
            (401, "credentials were refused"),
            (403, "permission denied"),
            (404, "bucket was not found"),
            (400, "store could not be reached or did not answer as it should"),
        ],
    )
    async def test_that_refuses_us_is_not_ready(self, bucket: BucketServer, status: int, reason: str) -> None:
        bucket.refuse_with = status
        store = DocumentStore.open("s3://bucket")
        with pytest.raises(StoreUnavailable):
            await store.check()
        with pytest.raises(StoreUnavailable) as caught:
            await store.put(KEY, b"data")
        assert caught.value.reason == reason

    async def test_that_does_not_answer_is_not_ready(
        self,
        monkeypatch: pytest.MonkeyPatch,
        bucket: BucketServer,
        unused_tcp_port: int,
    ) -> None:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{unused_tcp_port}")
        with pytest.raises(StoreUnavailable, match="could not be reached"):
            await DocumentStore.open("s3://bucket").check()


class TestOpening:
    @pytest.mark.parametrize(
        "url",
        [
            "",
            "ftp://host/path",
            "https://host/path",
            "file://host/path",
            "s3://",
            "file:",
        ],
    )
    def test_refuses_a_url_that_is_no_store(self, url: str) -> None:
        with pytest.raises(ValueError, match="document store"):
            DocumentStore.open(url)

    def test_refuses_azure_without_an_account(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("AZURE_STORAGE_ACCOUNT_NAME", raising=False)
        with pytest.raises(ValueError, match="not complete"):
            DocumentStore.open("az://container")

    def test_touches_no_disk(self, tmp_path: Path) -> None:
        DocumentStore.open(str(tmp_path / "documents"))
        assert not (tmp_path / "documents").exists()


def files_below(directory: Path) -> list[Path]:
    return [path for path in directory.rglob("*") if path.is_file()]


def spy_on_fsync(monkeypatch: pytest.MonkeyPatch, document: Path) -> tuple[list[Path], list[bool]]:
    """The paths that are synced from now on, and True for each file synced after the document had its name."""
    synced: list[Path] = []
    named_early: list[bool] = []
    fsync = os.fsync

    def note(descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        synced.append(path)
        if path.is_file() and document.exists():
            named_early.append(True)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", note)
    return synced, named_early
