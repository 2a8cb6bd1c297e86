"""What an error of a pharmacy means for the job that met it."""

from datetime import timedelta

import pytest

from case_orders.fulfillment.connection import verdict
from case_orders.pharmacies.protocol import PharmacyConflict, PharmacyUnavailable
from case_orders.work import Again, GiveUp


@pytest.mark.parametrize(("asked", "seconds"), [(None, 0), (0, 0), (60, 60), (3_600_000, 900), (1e300, 900)])
def test_a_pharmacy_may_ask_for_a_pause_of_up_to_a_quarter_of_an_hour(asked: float | None, seconds: int) -> None:
    meaning = verdict(PharmacyUnavailable("the pharmacy answered 503", asked))
    assert isinstance(meaning, Again)
    assert meaning.delay == timedelta(seconds=seconds)


def test_a_conflict_is_not_worth_another_try() -> None:
    assert isinstance(verdict(PharmacyConflict("the pharmacy has another order under this id")), GiveUp)
