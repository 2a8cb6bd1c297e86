"""What a pharmacy reports, applied to its order: late, twice, out of order, or not the pharmacy's at all."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlmodel import Session, col, delete, select
from structlog.testing import capture_logs

from case_orders import progress
from case_orders.db import now
from case_orders.documents import Fetched
from case_orders.fulfillment import documents, reports, submit
from case_orders.signing_secrets import new_secret
from models import Document, Event, Job, Order, StatusChange
from models.jobs import JobKind, JobState
from models.order_states import FINAL, MOVES, OrderState, rank
from tests.fulfillment.house import Clinic, House
from tests.support.orders import placement
from tests.support.world import ADDRESS, PATIENT

WAY = ["RECEIVED", "PROCESSING", "SUBMITTED", "ACKNOWLEDGED", "FILLING", "READY", "SHIPPED", "COMPLETED"]


async def settled(clinic: Clinic, drug: str, **wanted: object) -> str:
    order_id = await clinic.place(drug)
    await clinic.until(order_id, **wanted)
    await clinic.until_settled(order_id)
    return order_id


async def test_an_order_is_rejected_with_the_pharmacys_reason(clinic: Clinic) -> None:
    order_id = await settled(clinic, "drug-reject", status="REJECTED")
    assert clinic.states(order_id) == [*WAY[:3], "REJECTED"]
    assert clinic.look(order_id)["statusHistory"][-1]["reason"] == "The prescription cannot be filled"


async def test_an_order_is_held_with_a_reason_and_goes_on(clinic: Clinic) -> None:
    order_id = await settled(clinic, "drug-hold", status="COMPLETED")
    assert clinic.states(order_id) == [*WAY[:4], "ON_HOLD", *WAY[4:]]
    assert clinic.look(order_id)["statusHistory"][4]["reason"] == "Prior authorization needed"


async def test_reports_that_come_twice_change_nothing_twice(clinic: Clinic) -> None:
    order_id = await settled(clinic, "drug-duplicate-reports", status="COMPLETED", document_status="STORED")
    assert clinic.states(order_id) == WAY
    assert len(clinic.documents(order_id)) == 1
    types = [event.type for event in clinic.events(order_id)]
    assert types.count("ORDER_TRACKING_ADDED") == types.count("DOCUMENT_STORED") == 1
    # Each came three times, twice of them under one id: that one was stored once.
    assert sorted(map(str, clinic.outcomes(order_id))) == ["changed"] * 5 + ["unchanged"] * 5


async def test_a_report_of_a_state_behind_is_kept_and_changes_nothing(clinic: Clinic) -> None:
    order_id = await settled(clinic, "drug-out-of-order", status="COMPLETED")
    states = clinic.states(order_id)
    assert states[-2:] == ["SHIPPED", "COMPLETED"]
    assert not {"FILLING", "READY"} & set(states)
    assert sorted(map(str, clinic.outcomes(order_id))) == ["changed"] * 3 + ["unchanged"] * 2


async def test_states_that_the_pharmacy_skips_are_not_made_up(clinic: Clinic) -> None:
    order_id = await settled(clinic, "drug-skip", status="COMPLETED")
    assert clinic.states(order_id) == [*WAY[:4], "SHIPPED", "COMPLETED"]


async def test_a_forged_report_is_refused_and_changes_nothing(unhurried: Clinic) -> None:
    order_id = await unhurried.place()
    await unhurried.until(order_id, status="SUBMITTED")
    answer = await unhurried.report(order_id, secret=new_secret(), status="COMPLETED")
    assert answer.status_code == 401
    assert unhurried.outcomes(order_id) == []
    assert unhurried.states(order_id)[-1] == "SUBMITTED"


async def test_a_pharmacy_cannot_report_another_organizations_order(unhurried: Clinic, clinic: Clinic) -> None:
    order_id = await unhurried.place()
    await unhurried.until(order_id, status="SUBMITTED")
    assert (await clinic.report(order_id, status="COMPLETED")).status_code == 404
    assert unhurried.outcomes(order_id) == []


async def test_an_order_that_the_pharmacy_cancels_unasked_is_rejected(unhurried: Clinic) -> None:
    order_id = await unhurried.place()
    await unhurried.until(order_id, status="SUBMITTED")
    await unhurried.report(order_id, status="CANCELED", reason="Out of stock")
    order = await unhurried.until(order_id, status="REJECTED")
    assert order["statusHistory"][-1]["reason"] == "Out of stock"


@pytest.fixture(scope="module")
def order(house: House) -> tuple[House, str]:
    """An order that no worker knows, at its pharmacy, for tests that undo what they do."""
    clinic = house.clinic()
    asked = placement()["order"]
    with house.database.transaction() as session:
        order = Order(
            organization_id=clinic.tenant.organization_id,
            case_id=clinic.tenant.case_id,
            pharmacy_id=clinic.tenant.pharmacy_id,
            pharmacy_code="pharmacy-123",
            patient=PATIENT,
            shipping_address=ADDRESS,
            prescriber=asked["prescriber"],
            diagnosis=asked["diagnosis"],
        )
        progress.begin(session, order)
        progress.move(session, order, OrderState.PROCESSING)
        progress.move(session, order, OrderState.SUBMITTED)
        order_id = order.id
    return house, order_id


MORNING = datetime(2026, 5, 1, 8, tzinfo=UTC)
REPORTED = ["ACKNOWLEDGED", "ON_HOLD", "FILLING", "READY", "SHIPPED", "COMPLETED", "CANCELED", "REJECTED"]
a_report = st.fixed_dictionaries(
    {"occurredAt": st.integers(0, 9).map(lambda hours: (MORNING + timedelta(hours=hours)).isoformat())},
    optional={
        "status": st.sampled_from(REPORTED),
        "cancellation": st.fixed_dictionaries({"granted": st.booleans()}),
        "trackingNumber": st.sampled_from(["1Z1", "1Z2"]),
    },
)


def ask_to_cancel(session: Session, order: Order) -> None:
    """As the API does."""
    if OrderState.CANCEL_REQUESTED in MOVES[order.status] and not order.cancel_requested:
        order.cancel_requested, order.resume = True, order.status
        progress.move(session, order, OrderState.CANCEL_REQUESTED)


OF_STATES = ("ORDER_CREATED", "ORDER_STATUS_CHANGED")


def is_move(before: OrderState, after: OrderState) -> bool:
    """In the table, or onward with steps left out."""
    return (
        after in MOVES[before] or rank(after) > rank(before) >= 0 or (before is OrderState.ON_HOLD and rank(after) > 0)
    )


@settings(derandomize=True, max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.one_of(a_report, st.none()), max_size=8))
def test_whatever_is_reported_and_asked_an_order_never_goes_back_and_ends_once(
    order: tuple[House, str], happenings: list[dict[str, Any] | None]
) -> None:
    """None stands for a cancel request of the organization."""
    house, order_id = order
    with Session(house.database.engine) as session:
        row = progress.lock(session, order_id)
        for happening in happenings:
            status, furthest = row.status, row.furthest
            if happening is None:
                ask_to_cancel(session, row)
            else:
                reports.apply(session, row, happening)
            assert rank(row.furthest) >= rank(furthest)
            assert status not in FINAL or row.status is status
        session.flush()
        changes = select(StatusChange).where(StatusChange.order_id == order_id)
        history = sorted(session.exec(changes), key=lambda change: change.position)
        for before, after in pairwise(history):
            assert is_move(before.status, after.status), (before.status, after.status)
        events = session.exec(select(Event).where(Event.order_id == order_id).order_by(col(Event.sequence))).all()
        assert [event.sequence for event in events] == list(range(1, len(events) + 1))
        told = [(event.sequence, event.data["status"]) for event in events if event.type in OF_STATES]
        assert [(change.position, change.status) for change in history] == told
        session.rollback()


def at(hour: int, **fields: object) -> dict[str, Any]:
    """A report of what happened at an hour of the morning."""
    return {"occurredAt": (MORNING + timedelta(hours=hour)).isoformat()} | fields


@pytest.fixture
def told(order: tuple[House, str]) -> Iterator[tuple[Session, Order]]:
    """The order in a transaction that is undone."""
    house, order_id = order
    with Session(house.database.engine) as session:
        yield session, progress.lock(session, order_id)
        session.rollback()


def promised(session: Session, order: Order, kind: JobKind) -> list[Job]:
    mine = select(Job).where(Job.kind == kind, Job.organization_id == order.organization_id)
    return list(session.exec(mine))


def cancels(session: Session, order: Order) -> int:
    return len(promised(session, order, JobKind.CANCEL_ORDER))


def test_a_hold_stays_when_what_was_before_it_is_told_late_or_again(told: tuple[Session, Order]) -> None:
    session, order = told
    reports.apply(session, order, at(1, status="ACKNOWLEDGED"))
    reports.apply(session, order, at(2, status="ON_HOLD"))
    assert reports.apply(session, order, at(1, status="ACKNOWLEDGED")) == reports.UNCHANGED
    assert reports.apply(session, order, at(1, status="FILLING")) == reports.UNCHANGED
    assert (order.status, order.furthest) == (OrderState.ON_HOLD, OrderState.FILLING)
    assert reports.apply(session, order, at(3, status="FILLING")) == reports.CHANGED


def test_a_hold_stays_where_a_denied_cancel_leads_back_to_it(told: tuple[Session, Order]) -> None:
    session, order = told
    reports.apply(session, order, at(2, status="ON_HOLD"))
    ask_to_cancel(session, order)
    reports.apply(session, order, at(1, status="ACKNOWLEDGED"))
    reports.apply(session, order, at(3, cancellation={"granted": False}))
    assert order.status is OrderState.ON_HOLD


def test_a_cancel_from_before_the_submission_was_answered_is_taken_to_the_pharmacy_after_it(
    told: tuple[Session, Order],
) -> None:
    session, order = told
    order.status, order.cancel_requested = OrderState.PROCESSING, True
    reports.apply(session, order, at(1, status="ACKNOWLEDGED"))
    assert order.status is OrderState.CANCEL_REQUESTED
    assert cancels(session, order) == 1


def test_an_answer_that_comes_while_the_order_is_submitted_anew_does_not_end_the_request(
    told: tuple[Session, Order],
) -> None:
    session, order = told
    order.status, order.cancel_requested = OrderState.PROCESSING, True
    reports.take_cancellation(session, order, {"granted": True})
    assert (order.status, order.cancel_requested) == (OrderState.PROCESSING, True)


def test_a_cancel_of_an_order_whose_submission_failed_is_taken_to_the_pharmacy(told: tuple[Session, Order]) -> None:
    session, order = told
    order.status, order.cancel_requested = OrderState.PROCESSING, True
    job = Job(organization_id=order.organization_id, kind=JobKind.SUBMIT_ORDER, subject=order.id)
    submit.fail_order(session, job, "the pharmacy is out of reach")
    assert order.status is OrderState.FAILED
    assert cancels(session, order) == 1


@pytest.mark.parametrize(("status", "asked"), [("FILLING", 1), ("ON_HOLD", 1), ("SHIPPED", 1), ("REJECTED", 0)])
def test_a_canceled_order_that_the_pharmacy_works_on_is_canceled_there_once_more(
    status: str, asked: int, told: tuple[Session, Order]
) -> None:
    session, order = told
    ask_to_cancel(session, order)
    reports.apply(session, order, at(2, status="CANCELED"))
    reports.apply(session, order, at(1, status="ACKNOWLEDGED"))
    assert cancels(session, order) == 0
    for hour in (3, 4):
        reports.apply(session, order, at(hour, status=status))
    assert (order.status, cancels(session, order)) == (OrderState.CANCELED, asked)


def test_a_denial_is_not_of_a_request_that_has_still_to_be_taken_to_the_pharmacy(told: tuple[Session, Order]) -> None:
    session, order = told
    ask_to_cancel(session, order)
    progress.promise(session, order, JobKind.CANCEL_ORDER)
    denial = at(1, cancellation={"granted": False})
    assert reports.apply(session, order, denial) == reports.UNCHANGED
    session.connection().execute(delete(Job).where(col(Job.subject) == order.id))
    assert reports.apply(session, order, denial) == reports.CHANGED


def tracking_events(session: Session, order: Order) -> int:
    tracking = select(Event).where(Event.order_id == order.id, Event.type == "ORDER_TRACKING_ADDED")
    return len(session.exec(tracking).all())


def test_a_late_report_does_not_bring_an_old_tracking_number_back(told: tuple[Session, Order]) -> None:
    session, order = told
    shipped, moved = at(1, status="SHIPPED", trackingNumber="1Z1"), at(3, trackingNumber="1Z2")
    for report in (shipped, moved, shipped, at(2, trackingNumber="1Z3")):
        reports.apply(session, order, report)
    assert (order.tracking_number, tracking_events(session, order)) == ("1Z2", 2)


def test_a_late_report_of_a_known_number_does_not_let_an_older_one_in(told: tuple[Session, Order]) -> None:
    session, order = told
    for hour, number in ((1, "1Z1"), (3, "1Z1"), (2, "1Z2")):
        reports.apply(session, order, at(hour, trackingNumber=number))
    assert order.tracking_number == "1Z1"


def test_a_report_from_the_future_makes_those_that_follow_late_for_minutes_at_most(
    told: tuple[Session, Order], monkeypatch: pytest.MonkeyPatch
) -> None:
    session, order = told
    reports.apply(session, order, {"occurredAt": "9999-12-31T23:59:59Z", "status": "FILLING", "trackingNumber": "1Z1"})
    later = now() + timedelta(minutes=6)
    monkeypatch.setattr(reports, "now", lambda: later)
    reports.apply(session, order, {"occurredAt": later.isoformat(), "status": "ON_HOLD", "trackingNumber": "1Z2"})
    assert (order.status, order.tracking_number) == ("ON_HOLD", "1Z2")


def test_a_late_report_may_bring_the_first_tracking_number(told: tuple[Session, Order]) -> None:
    session, order = told
    reports.apply(session, order, at(2, status="COMPLETED"))
    reports.apply(session, order, at(1, status="SHIPPED", trackingNumber="1Z1", carrier="UPS"))
    assert (order.tracking_number, order.carrier) == ("1Z1", "UPS")


def test_a_carrier_may_come_before_or_after_its_number(told: tuple[Session, Order]) -> None:
    session, order = told
    reports.apply(session, order, at(1, carrier="UPS"))
    assert tracking_events(session, order) == 0
    reports.apply(session, order, at(2, trackingNumber="1Z1"))
    assert (order.tracking_number, order.carrier) == ("1Z1", "UPS")
    reports.apply(session, order, at(3, trackingNumber="1Z2"))
    assert (order.tracking_number, order.carrier) == ("1Z2", None)
    reports.apply(session, order, at(4, carrier="FedEx"))
    assert (order.tracking_number, order.carrier) == ("1Z2", "FedEx")
    assert tracking_events(session, order) == 3


def named(name: str, **fields: str) -> dict[str, str]:
    return {"id": name, "url": f"https://pharmacy.example/{name}"} | fields


def test_a_document_that_is_named_at_every_poll_is_promised_once(told: tuple[Session, Order]) -> None:
    session, order = told
    for _ in range(3):
        reports.apply(session, order, at(1, documents=[named("rx")]))
    (job,) = promised(session, order, JobKind.FETCH_DOCUMENT)
    documents.fail_document(session, job, "the document is not a PDF")
    job.state = JobState.DEAD
    reports.apply(session, order, at(2, documents=[named("rx")]))
    (again,) = promised(session, order, JobKind.FETCH_DOCUMENT)
    assert (again.id, again.state) == (job.id, JobState.WAITING)


def test_a_document_that_is_not_stored_yet_is_fetched_from_where_it_lies_now(told: tuple[Session, Order]) -> None:
    session, order = told
    reports.apply(session, order, at(1, documents=[named("rx")]))
    moved = named("rx", url="https://pharmacy.example/signed?until=noon", sha256="0" * 64)
    reports.apply(session, order, at(2, documents=[moved]))
    (document,) = session.exec(select(Document).where(Document.order_id == order.id))
    assert (document.source_url, document.expected_sha256) == (moved["url"], moved["sha256"])


def test_a_document_that_is_named_does_not_hide_that_another_one_failed(told: tuple[Session, Order]) -> None:
    session, order = told
    reports.apply(session, order, at(1, documents=[named("rx")]))
    (job,) = promised(session, order, JobKind.FETCH_DOCUMENT)
    documents.fail_document(session, job, "the document is not a PDF")
    reports.apply(session, order, at(2, documents=[named("leaflet")]))
    assert order.document_status == "FAILED"


def test_an_order_takes_50_documents_over_all_its_reports_and_the_news_beside_those_beyond(
    told: tuple[Session, Order],
) -> None:
    session, order = told
    for first in (0, 20, 40):
        few = [named(f"rx-{number}") for number in range(first, first + 20)]
        with capture_logs() as lines:
            reports.apply(session, order, at(1 + first, status="SHIPPED", trackingNumber=f"1Z{first}", documents=few))
    assert [(line["event"], line["order"], line["count"]) for line in lines] == [("documents not taken", order.id, 10)]
    assert len(promised(session, order, JobKind.FETCH_DOCUMENT)) == documents.MOST_DOCUMENTS
    assert (order.status, order.tracking_number) == ("SHIPPED", "1Z40")


def test_a_document_of_an_order_that_is_full_may_still_be_named_anew(told: tuple[Session, Order]) -> None:
    session, order = told
    for first in (0, 20, 40):
        reports.apply(session, order, at(1, documents=[named(f"rx-{number}") for number in range(first, first + 20)]))
    moved = named("rx-7", url="https://pharmacy.example/moved")
    reports.apply(session, order, at(2, documents=[named("another"), moved]))
    rows = {row.source_id: row.source_url for row in session.exec(select(Document))}
    assert rows["rx-7"] == moved["url"]
    assert "another" not in rows


@pytest.mark.parametrize("together", [True, False])
def test_a_document_that_two_jobs_fetched_is_stored_and_announced_once(
    together: bool, told: tuple[Session, Order], order: tuple[House, str]
) -> None:
    session, row = told
    settings = order[0].settings
    reports.apply(session, row, at(1, documents=[named("rx")]))
    (job,) = promised(session, row, JobKind.FETCH_DOCUMENT)
    document = session.get_one(Document, job.subject)
    fetched = [(document, Fetched.of(content)) for content in (b"first", b"second")]
    for ended in [fetched] if together else [[one] for one in fetched]:
        documents._record(session, settings, ended)
    documents.fail_document(session, job, "too late to fail")
    stored = select(Event).where(Event.order_id == row.id, Event.type == "DOCUMENT_STORED")
    assert len(session.exec(stored).all()) == 1
    assert (document.size, document.failure, row.document_status) == (5, None, "STORED")


def test_a_hold_that_is_over_does_not_come_back_with_its_late_report(order: tuple[House, str]) -> None:
    house, order_id = order
    with Session(house.database.engine) as session:
        row = progress.lock(session, order_id)
        reports.apply(session, row, {"occurredAt": (MORNING + timedelta(hours=2)).isoformat(), "status": "FILLING"})
        held = reports.apply(session, row, {"occurredAt": MORNING.isoformat(), "status": "ON_HOLD"})
        assert (held, row.status) == (reports.UNCHANGED, OrderState.FILLING)
        session.rollback()


def test_a_tracking_number_that_is_new_is_announced_and_a_known_one_is_not(order: tuple[House, str]) -> None:
    house, order_id = order
    with Session(house.database.engine) as session:
        row = progress.lock(session, order_id)
        for number in ("1Z1", "1Z1", "1Z2"):
            report = {"occurredAt": now().isoformat(), "trackingNumber": number, "carrier": "UPS"}
            assert reports.apply(session, row, report) == reports.UNCHANGED
        tracking = select(Event).where(Event.order_id == order_id, Event.type == "ORDER_TRACKING_ADDED")
        assert len(session.exec(tracking).all()) == 2
        assert row.tracking_number == "1Z2"
        session.rollback()
