from pathlib import Path
from time import monotonic
from urllib.parse import urlsplit

import pytest

from case_orders.demo.example import API_KEY
from tests.browser.swagger_page import SwaggerPage

COMPLETED_WITHIN_SECONDS = 30

on_a_phone = pytest.mark.parametrize("width", [390])
at_a_desk = pytest.mark.parametrize("width", [1280])
on_both = pytest.mark.parametrize("width", [390, 1280])


@on_both
def test_the_page_says_its_language_its_title_and_what_it_is(page: SwaggerPage, pictures: Path, width: int) -> None:
    page.tab.screenshot(path=pictures / f"docs-{width}.png", full_page=True)
    assert page.tab.locator("html").get_attribute("lang") == "en"
    assert page.tab.title() == "Orders API"
    assert page.tab.get_by_role("heading", level=1, name="Orders API").is_visible()
    assert page.tab.get_by_text("Place medication orders for the cases of your organization").is_visible()


@on_both
def test_an_order_is_placed_followed_and_its_prescription_saved_without_leaving_the_page(
    page: SwaggerPage, pictures: Path, width: int, tmp_path: Path
) -> None:
    page.authorize(API_KEY)
    order_id = _place(page, pictures / f"placed-{width}.png")
    _follow(page, order_id, pictures / f"completed-{width}.png")
    _save(page, order_id, tmp_path / "prescription.pdf")
    assert page.overflow() == 0
    assert page.complaints == []
    assert page.hosts == {urlsplit(page.url).netloc}


def _place(page: SwaggerPage, picture: Path) -> str:
    placing = page.operation("performCaseAction")
    assert placing.execute() == 200
    placing.picture(picture)
    order_id: str = placing.answer()["data"]["order"]["id"]
    return order_id


def _follow(page: SwaggerPage, order_id: str, picture: Path) -> None:
    reading = page.operation("getOrder")
    reading.fill("orderId", order_id)
    deadline = monotonic() + COMPLETED_WITHIN_SECONDS
    state: dict[str, str] = {}
    while state.get("status") != "COMPLETED" or state.get("documentStatus") != "STORED":
        assert monotonic() < deadline
        assert reading.execute() == 200
        state = reading.answer()["data"]["order"]
    reading.picture(picture)


def _save(page: SwaggerPage, order_id: str, path: Path) -> None:
    listing = page.operation("listOrderDocuments")
    listing.fill("orderId", order_id)
    assert listing.execute() == 200
    (document,) = listing.answer()["data"]["documents"]
    downloading = page.operation("downloadDocument")
    downloading.fill("orderId", order_id)
    downloading.fill("documentId", document["id"])
    assert downloading.execute() == 200
    assert downloading.save(path).endswith(".pdf")
    content = path.read_bytes()
    assert content.startswith(b"%PDF-")
    assert len(content) == document["size"]


@at_a_desk
def test_an_optional_parameter_starts_empty(page: SwaggerPage) -> None:
    page.authorize(API_KEY)
    placing, listing = page.operation("performCaseAction"), page.operation("listOrders")
    first, second = (placing.execute() == 200 and placing.answer()["data"]["order"]["id"] for _ in range(2))
    assert first != second
    assert listing.execute() == 200
    assert [order["id"] for order in listing.answer()["data"]["orders"]][:2] == [second, first]


@on_a_phone
def test_every_operation_fits_the_screen(page: SwaggerPage) -> None:
    page.unfold_all()
    assert page.overflow() == 0
