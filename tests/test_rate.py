"""Rates as an operator writes them."""

import pytest

from case_orders.rate import Rate


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("600/minute", Rate(600, 60)),
        ("1/second", Rate(1, 1)),
        ("6000/10 seconds", Rate(6000, 10)),
        ("20 / 2 hours", Rate(20, 7200)),
        ("100000/day", Rate(100_000, 86_400)),
        ("", None),
    ],
)
def test_a_rate_is_so_many_in_so_much_time(text: str, rate: Rate | None) -> None:
    assert Rate.parse(text) == rate


@pytest.mark.parametrize(
    "text", ["600", "0/minute", "-1/minute", "1/0 seconds", "a/minute", "1/week", " ", "1/minute\n", "٣/minute"]
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must be written like 600/minute"):
        Rate.parse(text)
