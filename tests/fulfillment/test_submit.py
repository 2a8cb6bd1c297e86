"""From an accepted order to the pharmacy: once, whatever happens on the way."""

from dataclasses import replace
from datetime import timedelta
from io import BytesIO

import pytest
from pypdf import PdfReader
from sqlmodel import Session

from case_orders import outbox, worker
from case_orders.work import Context, GiveUp
from models import Case, Drug, Job
from models.jobs import Claimed, JobKind, JobState
from tests.fulfillment.house import Clinic, House, until
from tests.fulfillment.test_documents import stored_bytes
from tests.support.fault_proxy import LOST_ANSWER, NONE, RESET

WAY = ["RECEIVED", "PROCESSING", "SUBMITTED", "ACKNOWLEDGED", "FILLING", "READY", "SHIPPED", "COMPLETED"]


async def test_an_order_goes_the_whole_way_in_order_and_is_filled_once(clinic: Clinic) -> None:
    order_id = await clinic.place()
    order = await clinic.until(order_id, status="COMPLETED", document_status="STORED")
    await clinic.until_settled(order_id)
    assert clinic.states(order_id) == WAY
    assert order["trackingNumber"] == "1Z999AA10123456784"
    assert order["carrier"] == "UPS"
    assert order["pharmacyReference"].startswith("RX-")
    assert await clinic.sandbox_says(order_id) == {
        "submissions": 1,
        "fills": 1,
        "status": "COMPLETED",
        "unsentReports": 0,
    }


async def test_the_events_of_an_order_are_numbered_without_gaps_and_tell_its_way(clinic: Clinic) -> None:
    order_id = await clinic.place()
    await clinic.until(order_id, status="COMPLETED", document_status="STORED")
    events = clinic.events(order_id)
    assert [event.sequence for event in events] == list(range(1, 11))
    assert [event.position for event in events] == list(range(1, 11))
    told = [event.data["status"] for event in events if event.type in ("ORDER_CREATED", "ORDER_STATUS_CHANGED")]
    assert told == WAY
    assert {event.type for event in events} >= {"ORDER_TRACKING_ADDED", "DOCUMENT_STORED"}


async def test_orders_placed_at_once_on_one_case_are_all_filled_and_its_events_numbered(clinic: Clinic) -> None:
    orders = [await clinic.place() for _ in range(5)]
    for order_id in orders:
        await clinic.until(order_id, status="COMPLETED", document_status="STORED")
        assert (await clinic.sandbox_says(order_id))["fills"] == 1
    events = [event for order_id in orders for event in clinic.events(order_id)]
    assert sorted(event.position or 0 for event in events) == list(range(1, len(events) + 1))


async def test_an_order_that_the_pharmacy_refuses_is_rejected_with_its_reason(clinic: Clinic) -> None:
    order_id = await clinic.place("drug-refuse")
    order = await clinic.until(order_id, status="REJECTED")
    assert clinic.states(order_id) == ["RECEIVED", "PROCESSING", "SUBMITTED", "REJECTED"]
    assert order["statusHistory"][-1]["reason"] == "The pharmacy does not stock this drug"
    await until(lambda: clinic.jobs() == [], "an end of all jobs")


async def test_reports_that_come_before_the_answer_to_the_submission_are_taken(clinic: Clinic) -> None:
    """The slow pharmacy has shipped the order when it answers."""
    order_id = await clinic.place("drug-slow")
    await clinic.until(order_id, status="COMPLETED", document_status="STORED")
    await clinic.until_settled(order_id)
    assert clinic.states(order_id) == WAY
    assert (await clinic.sandbox_says(order_id))["fills"] == 1


@pytest.mark.parametrize(("drug", "submissions"), [("drug-flaky", 3), ("drug-garbage", 4)])
async def test_an_order_is_submitted_again_until_the_pharmacy_takes_it(
    drug: str, submissions: int, clinic: Clinic
) -> None:
    order_id = await clinic.place(drug)
    await clinic.until(order_id, status="COMPLETED")
    assert clinic.states(order_id) == WAY
    said = await clinic.sandbox_says(order_id)
    assert (said["submissions"], said["fills"]) == (submissions, 1)


async def test_an_order_whose_answer_was_lost_is_looked_up_and_not_sent_again(unhurried: Clinic, house: House) -> None:
    async with house.behind_a_proxy(unhurried) as (proxy, clinic):
        proxy.fault = LOST_ANSWER
        order_id = await clinic.place()
        await until(lambda: clinic.jobs()[0].last_error is not None, "a failed attempt")
        proxy.fault = NONE
        await clinic.until(order_id, status="SUBMITTED")
        assert (await clinic.sandbox_says(order_id))["submissions"] == 1


async def test_a_pharmacy_that_breaks_off_after_it_took_the_order_fills_it_once(clinic: Clinic) -> None:
    order_id = await clinic.place("drug-timeout-after-accept")
    await clinic.until(order_id, status="COMPLETED", document_status="STORED")
    await clinic.until_settled(order_id)
    said = await clinic.sandbox_says(order_id)
    assert (said["submissions"], said["fills"]) == (1, 1)


async def test_an_order_is_followed_although_its_submission_was_never_answered(
    unhurried: Clinic, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A report arrives before the second attempt, which finds nothing left to do."""
    monkeypatch.setattr(worker, "_FIRST_PAUSE", timedelta(seconds=0.5))
    async with house.behind_a_proxy(unhurried) as (proxy, clinic):
        proxy.fault = LOST_ANSWER
        order_id = await clinic.place()
        await until(lambda: clinic.jobs()[0].last_error is not None, "a failed attempt")
        await clinic.report(order_id, status="ACKNOWLEDGED")
        await until(lambda: [job.kind for job in clinic.jobs()] == [JobKind.FOLLOW_ORDER], "a promise to follow")
    assert clinic.states(order_id)[-1] == "ACKNOWLEDGED"


async def test_an_order_waits_for_a_pharmacy_that_is_down_and_goes_on_when_it_is_up(
    clinic: Clinic, house: House
) -> None:
    async with house.behind_a_proxy(clinic) as (proxy, proxied):
        proxy.fault = RESET
        order_id = await proxied.place()
        await until(lambda: proxied.jobs()[0].attempt > 2, "a third attempt")
        assert proxied.states(order_id) == ["RECEIVED", "PROCESSING"]
        proxy.fault = NONE
        await proxied.until(order_id, status="COMPLETED")
        assert (await proxied.sandbox_says(order_id))["fills"] == 1


async def test_an_order_fails_after_the_last_attempt_and_goes_on_when_it_is_replayed(
    clinic: Clinic, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    submitting = worker.KINDS[JobKind.SUBMIT_ORDER]
    monkeypatch.setitem(worker.KINDS, JobKind.SUBMIT_ORDER, replace(submitting, attempts=2))
    async with house.behind_a_proxy(clinic) as (proxy, proxied):
        proxy.fault = RESET
        order_id = await proxied.place()
        order = await proxied.until(order_id, status="FAILED")
        assert order["statusHistory"][-1]["reason"] == "the pharmacy cannot be reached or broke off"
        (dead,) = proxied.jobs()
        assert (dead.state, dead.attempt) == (JobState.DEAD, 2)
        proxy.fault = NONE
        proxied.in_transaction(lambda session: outbox.replay(session, session.get_one(Job, dead.id)))
        await proxied.until(order_id, status="COMPLETED")
    assert proxied.states(order_id) == [*WAY[:2], "FAILED", *WAY[1:]]


async def test_an_order_whose_submission_is_given_up_before_it_began_has_failed_and_goes_on_when_it_is_replayed(
    clinic: Clinic, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never_begin(_context: Context, _job: Claimed) -> None:
        raise GiveUp("the database was away")

    submitting = worker.KINDS[JobKind.SUBMIT_ORDER]
    monkeypatch.setitem(worker.KINDS, JobKind.SUBMIT_ORDER, replace(submitting, run=never_begin))
    order_id = await clinic.place()
    await clinic.until(order_id, status="FAILED")
    (dead,) = clinic.jobs()
    monkeypatch.setitem(worker.KINDS, JobKind.SUBMIT_ORDER, submitting)
    clinic.in_transaction(lambda session: outbox.replay(session, session.get_one(Job, dead.id)))
    await clinic.until(order_id, status="COMPLETED")
    assert clinic.states(order_id) == [*WAY[:2], "FAILED", *WAY[1:]]


async def test_a_failed_order_of_which_the_pharmacy_reports_goes_on_by_itself(
    unhurried: Clinic, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its one submission arrived, and nothing of that came back."""
    submitting = worker.KINDS[JobKind.SUBMIT_ORDER]
    monkeypatch.setitem(worker.KINDS, JobKind.SUBMIT_ORDER, replace(submitting, attempts=1))
    async with house.behind_a_proxy(unhurried) as (proxy, clinic):
        proxy.fault = LOST_ANSWER
        order_id = await clinic.place()
        await clinic.until(order_id, status="FAILED")
        await clinic.report(order_id, status="FILLING")
        await clinic.until(order_id, status="FILLING")
        await until(lambda: JobKind.FOLLOW_ORDER in [job.kind for job in clinic.jobs()], "a promise to follow")
    assert clinic.states(order_id)[-3:] == ["PROCESSING", "SUBMITTED", "FILLING"]


async def test_every_report_is_kept_with_what_it_did(clinic: Clinic) -> None:
    order_id = await clinic.place()
    await clinic.until(order_id, status="COMPLETED")
    await clinic.until_settled(order_id)
    assert clinic.outcomes(order_id) == ["changed"] * 5


async def test_what_was_checked_is_submitted_though_catalogue_and_case_have_changed_since(
    clinic: Clinic, house: House
) -> None:
    async with house.behind_a_proxy(clinic) as (proxy, proxied):
        proxy.fault = RESET
        order_id = await proxied.place()

        def change(session: Session) -> None:
            drug = session.get_one(Drug, (proxied.tenant.organization_id, "drug-456"))
            drug.strength, drug.schedule = "20 mg", "II"
            case = session.get_one(Case, proxied.tenant.case_id)
            case.patient = case.patient | {"firstName": "Somebody else"}
            session.add_all([drug, case])

        proxied.in_transaction(change)
        proxy.fault = NONE
        await proxied.until(order_id, document_status="STORED")
    (document,) = proxied.documents(order_id)
    content = await stored_bytes(proxied, document)
    prescription = PdfReader(BytesIO(content)).pages[0].extract_text()
    assert "Jane Doe" in prescription
    assert "10 mg" in prescription
