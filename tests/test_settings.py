"""What an operator can set."""

import pytest

from case_orders.settings import Settings


@pytest.mark.parametrize(
    ("host", "url"),
    [("127.0.0.1", "http://127.0.0.1:8080"), ("::1", "http://[::1]:8080"), ("", "http://127.0.0.1:8080")],
)
def test_the_public_url_that_nobody_set_is_one_that_can_be_set(host: str, url: str) -> None:
    """A process hands all its settings on to its workers."""
    assert Settings(host=host).public_url == Settings(public_url=url).public_url == url


@pytest.mark.parametrize("url", ["https://orders.example.com", "https://orders.example.com/case-orders/", "http://h:1"])
def test_a_public_url_may_have_a_port_and_a_path(url: str) -> None:
    assert Settings(public_url=url).public_url == url
