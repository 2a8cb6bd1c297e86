"""Cancel requests: only the pharmacy grants them once it may have the order, and a denial is never an approval."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest
import pytest_asyncio
from aiohttp import web
from structlog.testing import capture_logs

from case_orders import worker
from case_orders.db import now
from case_orders.fulfillment import submit
from models.jobs import JobKind
from tests.fulfillment.house import Clinic, House, sandbox, until
from tests.support.fault_proxy import LOST_ANSWER, NONE, RESET
from tests.support.web import listening


@pytest_asyncio.fixture(loop_scope="session")
async def measured(house: House, tmp_path: Path) -> AsyncIterator[Clinic]:
    """A clinic whose pharmacy leaves time to cancel, and ships in a second or two all the same."""
    async with sandbox(tmp_path, pace=0.3) as url:
        yield house.clinic(url)


async def test_a_cancel_that_is_granted_ends_the_order_which_is_never_filled(unhurried: Clinic) -> None:
    order_id = await unhurried.place()
    await unhurried.until(order_id, status="SUBMITTED")
    answer = await unhurried.cancel(order_id)
    assert answer.status_code == 202
    await unhurried.until(order_id, status="CANCELED")
    assert unhurried.states(order_id) == ["RECEIVED", "PROCESSING", "SUBMITTED", "CANCEL_REQUESTED", "CANCELED"]
    said = await unhurried.sandbox_says(order_id)
    assert (said["status"], said["fills"]) == ("CANCELED", 0)


async def test_a_cancel_that_is_denied_lets_the_order_go_on_where_it_was(unhurried: Clinic) -> None:
    order_id = await unhurried.place("drug-deny-cancel")
    await unhurried.report(order_id, status="ACKNOWLEDGED")
    await unhurried.until(order_id, status="ACKNOWLEDGED")
    await unhurried.cancel(order_id)
    order = await unhurried.until(order_id, status="ACKNOWLEDGED", cancel_requested=False)
    assert unhurried.states(order_id)[-3:] == ["ACKNOWLEDGED", "CANCEL_REQUESTED", "ACKNOWLEDGED"]
    reason = "The pharmacy denied the cancel request: The order is already being prepared"
    assert order["statusHistory"][-1]["reason"] == reason


async def test_after_a_denial_the_order_is_completed(measured: Clinic) -> None:
    order_id = await measured.place("drug-deny-cancel")
    await measured.until(order_id, status="SUBMITTED")
    await measured.cancel(order_id)
    await measured.until(order_id, status="COMPLETED")
    states = measured.states(order_id)
    assert "CANCEL_REQUESTED" in states
    assert "CANCELED" not in states
    assert (await measured.sandbox_says(order_id))["fills"] == 1


async def test_a_cancel_that_is_decided_later_waits_for_the_decision(measured: Clinic) -> None:
    order_id = await measured.place("drug-slow-cancel")
    await measured.until(order_id, status="SUBMITTED")
    await measured.cancel(order_id)
    await measured.until(order_id, status="CANCELED")
    await measured.until_settled(order_id)
    assert measured.states(order_id)[-2:] == ["CANCEL_REQUESTED", "CANCELED"]
    assert (await measured.sandbox_says(order_id))["fills"] == 0


async def test_what_is_reported_while_a_cancel_waits_is_where_the_order_goes_on_after_a_denial(
    unhurried: Clinic,
) -> None:
    order_id = await unhurried.place("drug-slow-cancel")
    await unhurried.until(order_id, status="SUBMITTED")
    await unhurried.cancel(order_id)
    await until(lambda: JobKind.CANCEL_ORDER not in [job.kind for job in unhurried.jobs()], "an answer")
    await unhurried.report(order_id, status="FILLING")
    await unhurried.until(order_id, resume="FILLING", status="CANCEL_REQUESTED")
    await unhurried.report(order_id, cancellation={"granted": False})
    await unhurried.until(order_id, status="FILLING", cancel_requested=False)


async def test_shipping_overtakes_a_cancel_request_which_is_then_over(unhurried: Clinic) -> None:
    order_id = await unhurried.place("drug-slow-cancel")
    await unhurried.until(order_id, status="SUBMITTED")
    await unhurried.cancel(order_id)
    await unhurried.report(order_id, status="SHIPPED")
    await unhurried.until(order_id, status="SHIPPED")
    await unhurried.report(order_id, cancellation={"granted": False})
    assert (await unhurried.cancel(order_id)).status_code == 409
    await unhurried.report(order_id, status="COMPLETED")
    await unhurried.until(order_id, status="COMPLETED")


async def test_an_order_that_was_shipped_cannot_be_canceled(unhurried: Clinic) -> None:
    order_id = await unhurried.place()
    await unhurried.report(order_id, status="SHIPPED")
    await unhurried.until(order_id, status="SHIPPED")
    assert (await unhurried.cancel(order_id)).status_code == 409


async def test_a_cancel_that_comes_too_late_is_denied_and_the_order_goes_on(clinic: Clinic) -> None:
    """The pharmacy has shipped, and we did not know."""
    order_id = await clinic.place("drug-silent")
    await clinic.until(order_id, status="SUBMITTED")
    await clinic.until_sandbox_says(order_id, status="COMPLETED")
    await clinic.cancel(order_id)
    order = await clinic.until(order_id, status="SUBMITTED", cancel_requested=False)
    assert order["statusHistory"][-1]["reason"].endswith("The order has left the pharmacy or is ended")


async def test_an_order_that_is_canceled_before_the_pharmacy_had_it_is_never_submitted(
    clinic: Clinic, house: House
) -> None:
    async with house.behind_a_proxy(clinic) as (proxy, proxied):
        proxy.fault = RESET
        order_id = await proxied.place()
        await proxied.until(order_id, status="PROCESSING")
        await proxied.cancel(order_id)
        assert proxied.look(order_id)["status"] == "PROCESSING"
        proxy.fault = NONE
        order = await proxied.until(order_id, status="CANCELED")
        await until(lambda: proxied.jobs() == [], "an end of all jobs")
    assert order["statusHistory"][-1]["reason"] == "Canceled before the pharmacy had it"


async def test_a_cancel_while_the_submission_is_unanswered_is_taken_to_the_pharmacy(
    unhurried: Clinic, house: House
) -> None:
    async with house.behind_a_proxy(unhurried) as (proxy, clinic):
        proxy.fault = LOST_ANSWER
        order_id = await clinic.place()
        await clinic.until(order_id, status="PROCESSING")
        await clinic.cancel(order_id)
        proxy.fault = NONE
        await clinic.until(order_id, status="CANCELED")
        said = await clinic.sandbox_says(order_id)
    assert clinic.states(order_id)[-3:] in (
        ["SUBMITTED", "CANCEL_REQUESTED", "CANCELED"],
        ["RECEIVED", "PROCESSING", "CANCELED"],
    )
    assert said["fills"] == 0


async def test_an_order_that_is_refused_while_a_cancel_waits_is_rejected(house: House) -> None:
    asked, refuse = asyncio.Event(), asyncio.Event()

    async def submit(_request: web.Request) -> web.Response:
        asked.set()
        await refuse.wait()
        return web.json_response({"reason": "Out of stock"}, status=422)

    pharmacy = web.Application()
    pharmacy.add_routes([web.post("/orders", submit)])
    async with listening(pharmacy) as url:
        clinic = house.clinic(url)
        order_id = await clinic.place()
        await asked.wait()
        await clinic.cancel(order_id)
        refuse.set()
        await clinic.until(order_id, status="REJECTED")
        await until(lambda: clinic.jobs() == [], "an end of all jobs")


async def test_to_cancel_twice_is_to_cancel_once(unhurried: Clinic) -> None:
    order_id = await unhurried.place("drug-slow-cancel")
    await unhurried.until(order_id, status="SUBMITTED")
    answers = [await unhurried.cancel(order_id) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [202, 202]
    assert unhurried.states(order_id).count("CANCEL_REQUESTED") == 1


@dataclass
class Pen:
    """A pharmacy whose answers to cancel requests are written in advance; `keys` are those of the requests."""

    answers: list[bool]
    keys: list[str] = field(default_factory=list)

    def application(self) -> web.Application:
        application = web.Application()
        application.add_routes([web.post("/orders", self.submit), web.post("/orders/{order_id}/cancel", self.cancel)])
        return application

    async def submit(self, _request: web.Request) -> web.Response:
        return web.json_response({"reference": "RX-1"}, status=202)

    async def cancel(self, request: web.Request) -> web.Response:
        self.keys.append(request.headers["Idempotency-Key"])
        return web.json_response({"granted": self.answers[len(self.keys) - 1]})


async def test_a_request_after_a_denial_is_another_request(house: House) -> None:
    """A pharmacy repeats its answer to a request that is repeated."""
    pen = Pen([False, True])
    async with listening(pen.application()) as url:
        clinic = house.clinic(url)
        order_id = await clinic.place()
        await clinic.until(order_id, status="SUBMITTED")
        await clinic.cancel(order_id)
        await clinic.until(order_id, status="SUBMITTED", cancel_requested=False)
        await clinic.cancel(order_id)
        await clinic.until(order_id, status="CANCELED")
    assert len(set(pen.keys)) == 2


async def test_a_pharmacy_that_fills_a_canceled_order_is_asked_again_and_its_denial_is_told_to_the_operator(
    house: House,
) -> None:
    pen = Pen([True, False])
    async with listening(pen.application()) as url:
        clinic = house.clinic(url)
        order_id = await clinic.place()
        await clinic.until(order_id, status="SUBMITTED")
        await clinic.cancel(order_id)
        await clinic.until(order_id, status="CANCELED")
        with capture_logs() as logs:
            await clinic.report(order_id, status="FILLING")
            await until(lambda: len(pen.keys) == 2 and not clinic.row(order_id).cancel_requested, "another answer")
    assert clinic.states(order_id)[-1] == "CANCELED"
    errors = [line for line in logs if line["log_level"] == "error"]
    assert [(line["event"], line["order"]) for line in errors] == [("canceled order goes on", order_id)]


async def test_a_cancel_made_while_the_pharmacy_is_away_is_not_lost_when_the_order_turns_out_to_have_arrived(
    unhurried: Clinic, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "_FIRST_PAUSE", timedelta(seconds=30))
    async with house.behind_a_proxy(unhurried) as (proxy, clinic):
        proxy.fault = LOST_ANSWER
        order_id = await clinic.place()
        await until(lambda: clinic.jobs()[0].last_error is not None, "a failed attempt")
        await clinic.cancel(order_id)
        await until(lambda: [job.kind for job in clinic.jobs()] == [JobKind.SUBMIT_ORDER], "the end of the first job")
        proxy.fault = NONE
        await clinic.report(order_id, status="ACKNOWLEDGED")
        await clinic.until(order_id, status="CANCELED")
        assert (await clinic.sandbox_says(order_id))["status"] == "CANCELED"


async def test_a_pharmacy_that_was_silent_is_not_believed_at_once_that_it_has_no_order(
    clinic: Clinic, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may still be at work on the submission."""
    monkeypatch.setattr(submit, "SILENCE", timedelta(minutes=2))
    monkeypatch.setattr(worker, "_FIRST_PAUSE", timedelta(seconds=0.5))
    async with house.behind_a_proxy(clinic) as (proxy, proxied):
        proxy.fault = RESET
        order_id = await proxied.place()
        await until(lambda: proxied.jobs()[0].last_error is not None, "a failed attempt")
        await proxied.cancel(order_id)
        proxy.fault = NONE
        doubt = "the pharmacy may still be taking the order"
        await until(lambda: doubt in [job.last_error for job in proxied.jobs()], "doubt")
    assert proxied.states(order_id)[-1] == "PROCESSING"
    (job,) = (job for job in proxied.jobs() if job.last_error == doubt)
    assert timedelta(seconds=90) < job.due_at - now() <= timedelta(minutes=2)
