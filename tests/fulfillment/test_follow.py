"""Asking a pharmacy that reports nothing."""

from collections.abc import Callable
from pathlib import Path

from sqlmodel import col, update

from case_orders.db import now
from models import Job
from models.jobs import JobKind
from tests.fulfillment.house import Clinic, open_house, until


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


def owned(clinic: Clinic) -> object:
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


async def test_an_order_that_has_ended_is_no_longer_followed(clinic: Clinic) -> None:
    order_id = await clinic.place("drug-reject")
    await clinic.until(order_id, status="REJECTED")
    await clinic.until_settled(order_id)
    make_due(clinic)
    await until(lambda: clinic.jobs() == [], "an end of the questions")
