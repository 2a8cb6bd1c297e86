"""The sandbox's behaviours, seen through HttpPharmacy and through the reports that it sends."""

import asyncio
import hashlib
from typing import Any

import aiohttp
import pytest

from case_orders.outbound import Outbound
from case_orders.pharmacies.http import HttpPharmacy
from case_orders.pharmacies.protocol import (
    Accepted,
    Denied,
    Granted,
    NotKnown,
    PharmacyConflict,
    PharmacyMisbehaved,
    PharmacyUnavailable,
    Refused,
    Undecided,
)
from case_orders.pharmacies.signing import sign_request
from case_orders.signing_secrets import new_secret
from tests.pharmacies.conftest import REQUEST_SECRET, Service, book_of, get, looked_up_as
from tests.pharmacies.orders import item, order

ALL_STATES = ["ACKNOWLEDGED", "FILLING", "READY", "SHIPPED", "COMPLETED"]


async def fetched(pharmacy: HttpPharmacy, document: dict[str, str]) -> bytes:
    answer = await get(pharmacy, document["url"], pharmacy.document_headers(document["url"]))
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "application/pdf"
    return answer.body


async def test_an_order_goes_through_every_state_and_reports_each(pharmacy: HttpPharmacy, service: Service) -> None:
    placed = order(callback_url=service.url)
    assert await pharmacy.submit(placed) == Accepted("RX-000001")
    await service.until(5)
    assert service.states == ALL_STATES
    assert {report["reference"] for report in service.reports} == {"RX-000001"}
    assert service.reports[3]["trackingNumber"]
    assert service.reports[3]["carrier"]
    moments = [report["occurredAt"] for report in service.reports]
    assert moments == sorted(moments)
    assert len(set(service.message_ids)) == 5


async def test_the_prescription_comes_with_the_acknowledgement_and_its_checksum(
    pharmacy: HttpPharmacy, service: Service
) -> None:
    await pharmacy.submit(order(callback_url=service.url))
    await service.until(1)
    (document,) = service.reports[0]["documents"]
    pdf = await fetched(pharmacy, document)
    assert pdf.startswith(b"%PDF-")
    assert document["sha256"] == hashlib.sha256(pdf).hexdigest()
    assert document["url"].startswith(pharmacy.base_url)


async def test_a_look_up_tells_all_that_was_reported(pharmacy: HttpPharmacy, service: Service) -> None:
    placed = order(callback_url=service.url)
    await pharmacy.submit(placed)
    report = await looked_up_as(pharmacy, placed["orderId"], "COMPLETED")
    assert report.keys() >= {
        "reference",
        "trackingNumber",
        "carrier",
        "documents",
        "occurredAt",
    }


async def test_an_order_that_was_just_taken_can_be_looked_up(pharmacy: HttpPharmacy, service: Service) -> None:
    placed = order(callback_url=service.url)
    await pharmacy.submit(placed)
    report = await pharmacy.look_up(placed["orderId"])
    assert report is not None
    assert report["reference"] == "RX-000001"


async def test_the_same_order_is_taken_and_filled_once(pharmacy: HttpPharmacy, service: Service) -> None:
    placed = order(callback_url=service.url)
    answers = await asyncio.gather(*(pharmacy.submit(placed) for _ in range(5)))
    assert set(answers) == {Accepted("RX-000001")}
    await service.until(5)
    assert await pharmacy.submit(placed) == Accepted("RX-000001")
    assert (await book_of(pharmacy))[placed["orderId"]] == {
        "submissions": 6,
        "fills": 1,
        "status": "COMPLETED",
        "unsentReports": 0,
    }


async def test_another_order_under_the_same_id_conflicts(pharmacy: HttpPharmacy, service: Service) -> None:
    placed = order(callback_url=service.url)
    await pharmacy.submit(placed)
    with pytest.raises(PharmacyConflict):
        await pharmacy.submit(placed | {"diagnosis": "Another"})


async def test_a_request_with_another_signature_is_turned_away(sandbox: str, outbound: Outbound) -> None:
    stranger = HttpPharmacy(sandbox, new_secret(), outbound)
    for call in (
        stranger.submit(order()),
        stranger.look_up(order()["orderId"]),
        stranger.cancel(order()["orderId"], "1"),
    ):
        with pytest.raises(PharmacyUnavailable, match="401"):
            await call
    assert (await get(stranger, f"{sandbox}/documents/{order()['orderId']}/prescription")).status == 401


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"orderId": "1"}'])
async def test_a_body_that_is_no_order_is_refused(sandbox: str, session: aiohttp.ClientSession, body: bytes) -> None:
    headers = sign_request(REQUEST_SECRET, "POST", f"{sandbox}/orders", body)
    async with session.post(f"{sandbox}/orders", data=body, headers=headers) as answer:
        assert answer.status == 400


async def test_an_order_under_another_key_is_refused(sandbox: str, outbound: Outbound) -> None:
    class Careless(HttpPharmacy):
        async def submit(self, order: Any) -> Any:
            return await self._call("POST", "/orders", order, key="another")

    assert (await Careless(sandbox, REQUEST_SECRET, outbound).submit(order())).status == 400


async def test_an_unknown_order_is_not_known(pharmacy: HttpPharmacy) -> None:
    assert await pharmacy.look_up(order()["orderId"]) is None
    assert await pharmacy.cancel(order()["orderId"], "1") == NotKnown()


async def test_a_report_is_repeated_under_its_id_until_it_is_taken(pharmacy: HttpPharmacy, service: Service) -> None:
    service.failures = 3
    await pharmacy.submit(order(callback_url=service.url))
    await service.until(5)
    assert service.states == ALL_STATES
    assert len(set(service.attempts[:4])) == 1


async def test_the_book_is_open_without_patient_data(pharmacy: HttpPharmacy, service: Service) -> None:
    placed = order("drug-refuse", callback_url=service.url)
    await pharmacy.submit(placed)
    assert await book_of(pharmacy) == {
        placed["orderId"]: {
            "submissions": 1,
            "fills": 0,
            "status": None,
            "unsentReports": 0,
        }
    }


async def test_any_item_can_name_the_behaviour_and_the_first_does(pharmacy: HttpPharmacy, service: Service) -> None:
    items = [item("drug-456"), item("drug-refuse-10mg"), item("drug-reject")]
    assert isinstance(await pharmacy.submit(order(callback_url=service.url, items=items)), Refused)


class TestStates:
    async def test_reject(self, pharmacy: HttpPharmacy, service: Service) -> None:
        assert isinstance(
            await pharmacy.submit(order("drug-reject", callback_url=service.url)),
            Accepted,
        )
        await service.until(1)
        assert service.states == ["REJECTED"]
        assert service.reports[0]["reason"]

    async def test_refuse(self, pharmacy: HttpPharmacy) -> None:
        refused = order("drug-refuse")
        assert isinstance(await pharmacy.submit(refused), Refused)
        assert await pharmacy.look_up(refused["orderId"]) is None

    async def test_hold(self, pharmacy: HttpPharmacy, service: Service) -> None:
        placed = order("drug-hold", callback_url=service.url)
        await pharmacy.submit(placed)
        await service.until(6)
        assert service.states == [
            "ACKNOWLEDGED",
            "ON_HOLD",
            "FILLING",
            "READY",
            "SHIPPED",
            "COMPLETED",
        ]
        assert service.reports[1]["reason"]
        assert "reason" not in await looked_up_as(pharmacy, placed["orderId"], "COMPLETED")

    async def test_skip(self, pharmacy: HttpPharmacy, service: Service) -> None:
        await pharmacy.submit(order("drug-skip", callback_url=service.url))
        await service.until(3)
        assert service.states == ["ACKNOWLEDGED", "SHIPPED", "COMPLETED"]


class TestSubmits:
    async def test_slow(self, pharmacy: HttpPharmacy, service: Service) -> None:
        placed = order("drug-slow", callback_url=service.url)
        submit = asyncio.create_task(pharmacy.submit(placed))
        while await pharmacy.look_up(placed["orderId"]) is None:
            assert not submit.done()
        assert not submit.done()
        assert await submit == Accepted("RX-000001")

    async def test_flaky(self, pharmacy: HttpPharmacy, service: Service) -> None:
        placed = order("drug-flaky", callback_url=service.url)
        for retry_after in (None, 1):
            with pytest.raises(PharmacyUnavailable) as caught:
                await pharmacy.submit(placed)
            assert caught.value.retry_after == retry_after
        assert await pharmacy.look_up(placed["orderId"]) is None
        assert await pharmacy.submit(placed) == Accepted("RX-000001")

    async def test_timeout_after_accept(self, pharmacy: HttpPharmacy, service: Service) -> None:
        placed = order("drug-timeout-after-accept", callback_url=service.url)
        with pytest.raises(PharmacyUnavailable, match="broke off"):
            await pharmacy.submit(placed)
        assert await pharmacy.look_up(placed["orderId"]) is not None
        assert await pharmacy.submit(placed) == Accepted("RX-000001")
        await service.until(5)
        assert (await book_of(pharmacy))[placed["orderId"]]["fills"] == 1

    async def test_garbage(self, pharmacy: HttpPharmacy, service: Service) -> None:
        placed = order("drug-garbage", callback_url=service.url)
        for _ in range(3):
            with pytest.raises(PharmacyMisbehaved):
                await pharmacy.submit(placed)
        assert await pharmacy.submit(placed) == Accepted("RX-000001")


class TestReports:
    async def test_duplicate_reports(self, pharmacy: HttpPharmacy, service: Service) -> None:
        await pharmacy.submit(order("drug-duplicate-reports", callback_url=service.url))
        await service.until(15)
        assert service.states == [state for state in ALL_STATES for _ in range(3)]
        assert len(set(service.message_ids)) == 10

    async def test_out_of_order(self, pharmacy: HttpPharmacy, service: Service) -> None:
        await pharmacy.submit(order("drug-out-of-order", callback_url=service.url))
        await service.until(5)
        assert service.states == [
            "ACKNOWLEDGED",
            "SHIPPED",
            "FILLING",
            "READY",
            "COMPLETED",
        ]
        in_time = sorted(service.reports, key=lambda report: str(report["occurredAt"]))
        assert [report["status"] for report in in_time] == ALL_STATES

    async def test_silent(self, pharmacy: HttpPharmacy, service: Service) -> None:
        placed = order("drug-silent", callback_url=service.url)
        await pharmacy.submit(placed)
        report = await looked_up_as(pharmacy, placed["orderId"], "COMPLETED")
        assert report["documents"]
        assert service.attempts == []


class TestCancels:
    @pytest.fixture
    def pace(self) -> float:
        return 0.05

    async def test_granted_until_shipped(self, pharmacy: HttpPharmacy, service: Service) -> None:
        placed = order("drug-hold", callback_url=service.url)
        await pharmacy.submit(placed)
        await service.until(2)
        assert await pharmacy.cancel(placed["orderId"], "1") == Granted()
        assert await pharmacy.cancel(placed["orderId"], "1") == Granted()
        await service.until(3)
        assert service.states == ["ACKNOWLEDGED", "ON_HOLD", "CANCELED"]
        assert service.reports[2]["reason"]
        assert (await book_of(pharmacy))[placed["orderId"]]["fills"] == 0

    async def test_denied_once_shipped(self, pharmacy: HttpPharmacy, service: Service) -> None:
        placed = order(callback_url=service.url)
        await pharmacy.submit(placed)
        await service.until(4)
        answer = await pharmacy.cancel(placed["orderId"], "1")
        assert isinstance(answer, Denied)
        assert answer.reason

    async def test_deny_cancel(self, pharmacy: HttpPharmacy, service: Service) -> None:
        placed = order("drug-deny-cancel", callback_url=service.url)
        await pharmacy.submit(placed)
        assert isinstance(await pharmacy.cancel(placed["orderId"], "1"), Denied)
        await service.until(5)
        assert service.states == ALL_STATES

    async def test_slow_cancel(self, pharmacy: HttpPharmacy, service: Service) -> None:
        placed = order("drug-slow-cancel", callback_url=service.url)
        await pharmacy.submit(placed)
        assert await pharmacy.cancel(placed["orderId"], "1") == Undecided()
        report = await looked_up_as(pharmacy, placed["orderId"], "CANCELED")
        assert report["cancellation"] == {"granted": True}
        await service.until(1)
        assert service.reports[-1]["cancellation"] == {"granted": True}
        assert await pharmacy.cancel(placed["orderId"], "1") == Granted()


class TestDocuments:
    async def acknowledged(self, pharmacy: HttpPharmacy, service: Service, drug_id: str) -> dict[str, Any]:
        await pharmacy.submit(order(drug_id, callback_url=service.url))
        await service.until(1)
        return service.reports[0]

    async def test_bad_document(self, pharmacy: HttpPharmacy, service: Service) -> None:
        (document,) = (await self.acknowledged(pharmacy, service, "drug-bad-document"))["documents"]
        content = await fetched(pharmacy, document)
        assert not content.startswith(b"%PDF-")
        assert document["sha256"] == hashlib.sha256(content).hexdigest()

    async def test_truncated_document(self, pharmacy: HttpPharmacy, service: Service) -> None:
        (document,) = (await self.acknowledged(pharmacy, service, "drug-truncated-document"))["documents"]
        content = await fetched(pharmacy, document)
        assert content.startswith(b"%PDF-")
        assert b"%%EOF" not in content
        assert "sha256" not in document

    async def test_wrong_checksum(self, pharmacy: HttpPharmacy, service: Service) -> None:
        (document,) = (await self.acknowledged(pharmacy, service, "drug-wrong-checksum"))["documents"]
        content = await fetched(pharmacy, document)
        assert b"%%EOF" in content[-1024:]
        assert document["sha256"] != hashlib.sha256(content).hexdigest()

    async def test_no_document(self, pharmacy: HttpPharmacy, service: Service) -> None:
        report = await self.acknowledged(pharmacy, service, "drug-no-document")
        assert "documents" not in report
        url = f"{pharmacy.base_url}/documents/{report['orderId']}/prescription"
        assert (await get(pharmacy, url, pharmacy.document_headers(url))).status == 404
