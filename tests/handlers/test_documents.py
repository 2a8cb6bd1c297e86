"""Prescription documents: listed, downloaded with a key, downloaded by a signed link."""

import hashlib
from datetime import timedelta
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest
from httpx2 import ASGITransport

from case_orders.app import create_app
from case_orders.db import Database, new_id, now
from case_orders.documents import DocumentStore
from case_orders.links import Links
from case_orders.settings import Settings
from models import Document, Order
from tests.handlers.steps import placed
from tests.support.contract_client import ContractClient
from tests.support.world import Tenant

PDF = b"%PDF-1.7\n" + bytes(range(256)) * 3000 + b"\n%%EOF\n"


@pytest.fixture
async def order_id(api: ContractClient, us: Tenant) -> str:
    return await placed(api, us.case_id)


def name(database: Database, order_id: str, file_name: str = "prescription.pdf", *, stored: bool = True) -> Document:
    """A row for a document of an order."""
    with database.transaction() as session:
        order = session.get_one(Order, order_id)
        document = Document(
            organization_id=order.organization_id,
            order_id=order.id,
            source_id=new_id(),
            source_url="https://pharmacy.example/prescription",
            file_name=file_name,
        )
        if stored:
            document.size, document.sha256 = len(PDF), hashlib.sha256(PDF).hexdigest()
            document.stored_at = now()
        session.add(document)
    return document


async def store(database: Database, settings: Settings, order_id: str, file_name: str = "prescription.pdf") -> Document:
    document = name(database, order_id, file_name)
    await DocumentStore.open(settings.document_store).put(document.storage_key, PDF)
    return document


async def test_an_order_has_no_documents_at_first(api: ContractClient, order_id: str) -> None:
    assert (await api.get(f"/orders/{order_id}/documents")).json()["data"] == {"documents": []}


async def test_stored_documents_are_listed_the_oldest_first(
    api: ContractClient, order_id: str, database: Database, settings: Settings
) -> None:
    first, second = [await store(database, settings, order_id, f"{number}.pdf") for number in (1, 2)]
    documents = (await api.get(f"/orders/{order_id}/documents")).json()["data"]["documents"]
    assert [document["id"] for document in documents] == [first.id, second.id]
    assert documents[0] | {"createdAt": ""} == {
        "id": first.id,
        "fileName": "1.pdf",
        "contentType": "application/pdf",
        "size": len(PDF),
        "sha256": hashlib.sha256(PDF).hexdigest(),
        "createdAt": "",
    }


async def test_a_document_is_downloaded_as_it_was_stored(
    api: ContractClient, order_id: str, database: Database, settings: Settings
) -> None:
    document = await store(database, settings, order_id)
    answer = await api.get(f"/orders/{order_id}/documents/{document.id}")
    assert answer.status_code == 200
    assert answer.content == PDF
    assert answer.headers["content-type"] == "application/pdf"
    assert answer.headers["content-length"] == str(len(PDF))
    assert answer.headers["content-disposition"] == 'attachment; filename="prescription.pdf"'
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"


async def test_a_file_name_from_outside_cannot_break_out_of_its_header(
    api: ContractClient, order_id: str, database: Database, settings: Settings
) -> None:
    document = await store(database, settings, order_id, 'a"; filename="b.exe\r\nX: Ü/../c.pdf')
    answer = await api.get(f"/orders/{order_id}/documents/{document.id}")
    assert answer.headers["content-disposition"] == 'attachment; filename="a___filename__b.exe__X____.._c.pdf"'


async def test_a_document_that_is_not_stored_yet_is_not_there(
    api: ContractClient, order_id: str, database: Database, settings: Settings
) -> None:
    document = name(database, order_id, stored=False)
    assert (await api.get(f"/orders/{order_id}/documents")).json()["data"]["documents"] == []
    assert (await api.get(f"/orders/{order_id}/documents/{document.id}")).status_code == 404
    assert (await by_link(api, settings, document.id)).status_code == 403


async def test_a_document_belongs_to_its_order(
    api: ContractClient, us: Tenant, order_id: str, database: Database, settings: Settings
) -> None:
    document = await store(database, settings, order_id)
    other = await placed(api, us.case_id)
    answer = await api.get(f"/orders/{other}/documents/{document.id}")
    assert (answer.status_code, answer.json()["error"]) == (404, "Document not found")


async def test_bytes_that_are_lost_are_an_error_and_no_broken_download(
    api: ContractClient, order_id: str, database: Database, settings: Settings
) -> None:
    document = name(database, order_id)
    for answer in (
        await api.get(f"/orders/{order_id}/documents/{document.id}"),
        await by_link(api, settings, document.id),
    ):
        assert answer.status_code == 500
        assert answer.json()["success"] is False
        assert "content-disposition" not in answer.headers


async def test_a_store_that_is_away_is_worth_another_try(
    api: ContractClient, order_id: str, database: Database, settings: Settings, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    away = settings.model_copy(update={"document_store": str(tmp_path / "file" / "documents")})
    document = name(database, order_id)
    async with ContractClient(
        transport=ASGITransport(create_app(away, database)), base_url="http://test/api/v1", headers=api.headers
    ) as client:
        for answer in (
            await client.get(f"/orders/{order_id}/documents/{document.id}"),
            await by_link(client, settings, document.id),
        ):
            assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
            assert answer.headers["retry-after"]
            assert "content-disposition" not in answer.headers


# ---- links ------------------------------------------------------------------------------------------------------


async def by_link(api: ContractClient, settings: Settings, document_id: str, **changes: str) -> httpx2.Response:
    """The answer to a signed link, with some of its query changed; asked without a key."""
    del api.headers["cv-api-key"]
    link = urlsplit(Links.from_settings(settings).url(document_id, now()))
    query = {key: values[0] for key, values in parse_qs(link.query).items()} | changes
    return await api.get(f"http://test{link.path}", params=query)


async def test_a_link_works_without_a_key(
    api: ContractClient, order_id: str, database: Database, settings: Settings
) -> None:
    document = await store(database, settings, order_id)
    answer = await by_link(api, settings, document.id)
    assert (answer.status_code, answer.content) == (200, PDF)


async def test_a_link_that_was_changed_in_any_part_is_refused(
    api: ContractClient, order_id: str, database: Database, settings: Settings
) -> None:
    document = await store(database, settings, order_id)
    later = str(int((now() + timedelta(days=1)).timestamp()))
    for changes in ({"expires": later}, {"expires": "0"}, {"signature": "0" * 64}):
        api.headers["cv-api-key"] = ""
        answer = await by_link(api, settings, document.id, **changes)
        assert (answer.status_code, answer.json()["code"]) == (403, "invalid_link")


async def test_a_link_ends_after_15_minutes(
    api: ContractClient, order_id: str, database: Database, settings: Settings
) -> None:
    document = await store(database, settings, order_id)
    link = urlsplit(Links.from_settings(settings).url(document.id, now() - timedelta(minutes=15)))
    answer = await api.get(f"http://test{link.path}?{link.query}")
    assert (answer.status_code, answer.json()["code"]) == (403, "invalid_link")


async def test_a_link_opens_no_other_document(
    api: ContractClient, order_id: str, database: Database, settings: Settings
) -> None:
    ours, other = [await store(database, settings, order_id) for _ in range(2)]
    query = urlsplit(Links.from_settings(settings).url(ours.id, now())).query
    refused = await api.get(f"/documents/{other.id}?{query}")
    unknown = await api.get(f"/documents/{new_id()}?{query}")
    assert refused.status_code == unknown.status_code == 403
    assert refused.json() | {"requestId": ""} == unknown.json() | {"requestId": ""}
