"""Asking a pharmacy that reports nothing."""

from collections.abc import Callable
from pathlib import Path

from aiohttp import web
from sqlalchemy import ColumnElement
from sqlmodel import col, update

from case_orders.db import now
from models import Job
from models.jobs import JobKind, JobState
from tests.fulfillment.house import Clinic, House, open_house, until
from tests.support.web import listening


async def test_a_silent_pharmacy_is_asked_until_the_order_is_completed(
    new_database: Callable[[], str], tmp_path: Path, impatience: None
) -> None:
    async with open_house(new_database(), tmp_path, follow_seconds=0.05) as house:
        clinic = house.clinic()
        order_id = await clinic.place("drug-silent")
        order = await clinic.until(order_id, status="COMPLETED", document_status="STORED")
        assert order["trackingNumber"] == "1Z999AA10123456784"
        assert clinic.outcomes(order_id) == []
        await until(lambda: clinic.jobs() == [], "an end of the questions")


def make_due(clinic: Clinic) -> None:
    clinic.in_transaction(
        lambda session: session.connection().execute(
            update(Job).where(col(Job.kind) == JobKind.FOLLOW_ORDER, owned(clinic)).values(due_at=now())
        )
    )


def owned(clinic: Clinic) -> ColumnElement[bool]:
    return col(Job.organization_id) == clinic.tenant.organization_id


async def test_an_open_order_stays_followed(unhurried: Clinic) -> None:
    order_id = await unhurried.place()
    await unhurried.until(order_id, status="SUBMITTED")
    (first,) = unhurried.jobs()
    make_due(unhurried)
    await until(lambda: [job.id for job in unhurried.jobs()] not in ([], [first.id]), "another question")
    (second,) = unhurried.jobs()
    assert second.kind is JobKind.FOLLOW_ORDER
    assert second.due_at > now()


async def test_an_order_stays_followed_however_long_its_pharmacy_does_not_answer(house: House) -> None:
    asked = []

    async def submit(_request: web.Request) -> web.Response:
        return web.json_response({"reference": "RX-1"}, status=202)

    async def look_up(_request: web.Request) -> web.Response:
        asked.append("once more")
        return web.Response(status=503)

    pharmacy = web.Application()
    pharmacy.add_routes([web.post("/orders", submit), web.get("/orders/{order_id}", look_up)])
    async with listening(pharmacy) as url:
        clinic = house.clinic(url)
        order_id = await clinic.place()
        await clinic.until(order_id, status="SUBMITTED")
        (question,) = clinic.jobs()
        make_due(clinic)
        await until(lambda: [job.id for job in clinic.jobs()] not in ([], [question.id]), "another question")
    assert asked == ["once more"]
    (another,) = clinic.jobs()
    assert (another.kind, another.state, another.attempt) == (JobKind.FOLLOW_ORDER, JobState.WAITING, 0)
    assert another.due_at > now()


async def test_reports_do_not_add_to_the_questions(unhurried: Clinic) -> None:
    order_id = await unhurried.place()
    await unhurried.until(order_id, status="SUBMITTED")
    for status in ("ACKNOWLEDGED", "FILLING"):
        await unhurried.report(order_id, status=status)
        await unhurried.until(order_id, status=status)
    assert [job.kind for job in unhurried.jobs()] == [JobKind.FOLLOW_ORDER]


async def test_an_order_that_has_ended_is_no_longer_followed(clinic: Clinic) -> None:
    order_id = await clinic.place("drug-reject")
    await clinic.until(order_id, status="REJECTED")
    await clinic.until_settled(order_id)
    make_due(clinic)
    await until(lambda: clinic.jobs() == [], "an end of the questions")
