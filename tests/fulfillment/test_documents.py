"""Prescription documents: stored whole and for good before anyone hears of them, or not at all."""

import hashlib

import pytest
from sqlmodel import Session, select

from case_orders import outbox
from case_orders.documents import DocumentStore
from models import Document, Job
from models.jobs import JobKind, JobState
from tests.fulfillment.house import Clinic


async def stored_bytes(clinic: Clinic, document: Document) -> bytes:
    return await DocumentStore.open(clinic.house.settings.document_store).read(document.storage_key)


async def test_a_document_is_stored_and_is_what_its_checksum_says(clinic: Clinic) -> None:
    order_id = await clinic.place()
    await clinic.until(order_id, document_status="STORED")
    (document,) = clinic.documents(order_id)
    content = await stored_bytes(clinic, document)
    assert content.startswith(b"%PDF-")
    assert hashlib.sha256(content).hexdigest() == document.sha256 == document.expected_sha256
    assert len(content) == document.size


async def test_a_stored_document_is_announced_listed_and_served(clinic: Clinic) -> None:
    order_id = await clinic.place()
    await clinic.until(order_id, document_status="STORED")
    (event,) = [event for event in clinic.events(order_id) if event.type == "DOCUMENT_STORED"]
    (listed,) = (await clinic.call("GET", f"/orders/{order_id}/documents")).json()["data"]["documents"]
    assert listed["id"] == event.data["documentId"]
    served = await clinic.call("GET", f"/orders/{order_id}/documents/{listed['id']}")
    assert hashlib.sha256(served.content).hexdigest() == listed["sha256"]


async def test_an_order_without_documents_is_completed_and_waits_for_them(clinic: Clinic) -> None:
    order_id = await clinic.place("drug-no-document")
    await clinic.until(order_id, status="COMPLETED")
    await clinic.until_settled(order_id)
    assert clinic.look(order_id)["documentStatus"] == "PENDING"
    assert [job.kind for job in clinic.jobs()] == ["follow_order"]


@pytest.mark.parametrize(
    ("drug", "failure"),
    [
        ("drug-bad-document", "document is not a PDF"),
        ("drug-truncated-document", "document was cut short"),
        ("drug-wrong-checksum", "document has another checksum"),
    ],
)
async def test_a_document_that_is_not_right_is_given_up_and_the_order_goes_on(
    drug: str, failure: str, clinic: Clinic
) -> None:
    order_id = await clinic.place(drug)
    await clinic.until(order_id, status="COMPLETED", document_status="FAILED")
    (document,) = clinic.documents(order_id)
    assert document.failure == failure
    assert document.stored_at is None
    (dead,) = (job for job in clinic.jobs() if job.state is JobState.DEAD)
    assert (dead.attempt, dead.last_error) == (2, failure)
    assert (await clinic.call("GET", f"/orders/{order_id}/documents")).json()["data"]["documents"] == []


async def test_a_document_that_failed_is_fetched_when_it_is_named_anew(clinic: Clinic) -> None:
    failed = await clinic.place("drug-wrong-checksum")
    await clinic.until(failed, status="COMPLETED", document_status="FAILED")
    (document,) = clinic.documents(failed)
    named = {"id": document.source_id, "url": document.source_url}
    await clinic.report(failed, documents=[named])
    await clinic.until(failed, document_status="STORED")
    (stored,) = clinic.documents(failed)
    assert (stored.id, stored.failure) == (document.id, None)


async def test_a_document_that_failed_is_fetched_when_its_job_is_replayed(clinic: Clinic) -> None:
    order_id = await clinic.place("drug-wrong-checksum")
    await clinic.until(order_id, status="COMPLETED", document_status="FAILED")
    (document,) = clinic.documents(order_id)

    def mend(session: Session) -> None:
        row = session.get_one(Document, document.id)
        row.expected_sha256 = None
        outbox.replay(session, session.exec(select(Job).where(Job.subject == document.id)).one())

    clinic.in_transaction(mend)
    await clinic.until(order_id, document_status="STORED")
    assert clinic.documents(order_id)[0].failure is None


async def test_a_document_that_was_put_before_the_worker_died_is_the_one_that_stays(clinic: Clinic) -> None:
    order_id = await clinic.place("drug-no-document")
    await clinic.until(order_id, status="COMPLETED")
    other = await clinic.place()
    await clinic.until(other, document_status="STORED")
    (source,) = clinic.documents(other)
    put = b"%PDF-1.7 put by a worker that died\n%%EOF\n"

    def name(session: Session) -> str:
        row = Document(
            organization_id=source.organization_id,
            order_id=order_id,
            source_id="prescription",
            source_url=source.source_url,
            file_name="RX.pdf",
        )
        session.add(row)
        return row.id

    document_id = clinic.in_transaction(name)
    (document,) = clinic.documents(order_id)
    await DocumentStore.open(clinic.house.settings.document_store).put(document.storage_key, put)
    clinic.in_transaction(
        lambda session: outbox.enqueue(
            session, JobKind.FETCH_DOCUMENT, document_id, organization_id=source.organization_id
        )
    )
    await clinic.until(order_id, document_status="STORED")
    (stored,) = clinic.documents(order_id)
    assert stored.sha256 == hashlib.sha256(put).hexdigest()
