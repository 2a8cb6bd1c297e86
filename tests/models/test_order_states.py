"""The states of an order, held against the table in which they were agreed."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.order_states import FINAL, MOVES, OrderState, is_irreversible, is_onward, rank

S = OrderState

TABLE = """
RECEIVED          PROCESSING CANCELED
PROCESSING        SUBMITTED ON_HOLD FAILED CANCELED
SUBMITTED         ACKNOWLEDGED ON_HOLD REJECTED FAILED CANCEL_REQUESTED
ACKNOWLEDGED      FILLING ON_HOLD REJECTED CANCEL_REQUESTED
ON_HOLD           PROCESSING SUBMITTED ACKNOWLEDGED FILLING REJECTED CANCEL_REQUESTED CANCELED
FILLING           READY SHIPPED ON_HOLD REJECTED CANCEL_REQUESTED
READY             COMPLETED REJECTED CANCEL_REQUESTED
SHIPPED           COMPLETED REJECTED
CANCEL_REQUESTED  CANCELED SUBMITTED ACKNOWLEDGED ON_HOLD FILLING READY SHIPPED COMPLETED REJECTED
FAILED            PROCESSING CANCELED
COMPLETED
REJECTED
CANCELED
"""
ROWS = {OrderState(row[0]): {OrderState(to) for to in row[1:]} for row in map(str.split, TABLE.split("\n")) if row}

WAY = [S.RECEIVED, S.PROCESSING, S.SUBMITTED, S.ACKNOWLEDGED, S.FILLING, S.READY, S.SHIPPED, S.COMPLETED]
BESIDE = [S.ON_HOLD, S.CANCEL_REQUESTED, S.CANCELED, S.REJECTED, S.FAILED]
REPORTABLE = [S.ACKNOWLEDGED, S.ON_HOLD, S.FILLING, S.READY, S.SHIPPED, S.COMPLETED, S.REJECTED]


def test_the_table_has_a_row_for_every_state() -> None:
    assert ROWS.keys() == MOVES.keys() == set(OrderState)


@pytest.mark.parametrize("state", OrderState)
def test_a_state_moves_where_the_table_says_and_nowhere_else(state: OrderState) -> None:
    assert MOVES[state] == ROWS[state]


def test_completed_rejected_and_canceled_are_final() -> None:
    assert {S.COMPLETED, S.REJECTED, S.CANCELED} == FINAL


def test_a_state_further_on_the_way_has_a_higher_rank() -> None:
    ranks = [rank(state) for state in WAY]
    assert ranks == sorted(set(ranks))
    assert {rank(state) for state in BESIDE} == {-1}


@pytest.mark.parametrize("reported", [S.ACKNOWLEDGED, S.FILLING, S.READY, S.SHIPPED, S.COMPLETED])
def test_states_may_be_skipped(reported: OrderState) -> None:
    assert is_onward(reported, current=S.SUBMITTED, furthest=S.SUBMITTED)


@pytest.mark.parametrize("reported", [S.SUBMITTED, S.ACKNOWLEDGED, S.FILLING])
def test_a_state_behind_or_the_same_changes_nothing(reported: OrderState) -> None:
    assert not is_onward(reported, current=S.FILLING, furthest=S.FILLING)


@pytest.mark.parametrize("current", [S.PROCESSING, S.SUBMITTED, S.ACKNOWLEDGED, S.FILLING])
def test_an_order_may_be_held_until_it_is_filled(current: OrderState) -> None:
    assert is_onward(S.ON_HOLD, current=current, furthest=current)


@pytest.mark.parametrize("current", [S.READY, S.SHIPPED])
def test_an_order_that_is_filled_is_not_held(current: OrderState) -> None:
    assert not is_onward(S.ON_HOLD, current=current, furthest=current)


def test_a_held_order_goes_on_where_it_was_or_further_but_not_behind() -> None:
    def goes_on(reported: OrderState) -> bool:
        return is_onward(reported, current=S.ON_HOLD, furthest=S.ACKNOWLEDGED)

    assert goes_on(S.ACKNOWLEDGED)
    assert goes_on(S.SHIPPED)
    assert not goes_on(S.SUBMITTED)
    assert not goes_on(S.ON_HOLD)


@pytest.mark.parametrize("reported", [S.ACKNOWLEDGED, S.FILLING, S.READY])
def test_a_late_report_does_not_end_a_hold(reported: OrderState) -> None:
    assert not is_onward(reported, current=S.ON_HOLD, furthest=S.ACKNOWLEDGED, late=True)


def test_a_late_report_does_not_begin_a_hold() -> None:
    assert not is_onward(S.ON_HOLD, current=S.FILLING, furthest=S.FILLING, late=True)


@pytest.mark.parametrize("reported", [S.SHIPPED, S.COMPLETED, S.REJECTED])
def test_what_cannot_be_undone_ends_a_hold_however_late_it_is_told(reported: OrderState) -> None:
    assert is_onward(reported, current=S.ON_HOLD, furthest=S.ACKNOWLEDGED, late=True)


@pytest.mark.parametrize("current", sorted(set(OrderState) - FINAL))
def test_every_open_order_may_be_rejected(current: OrderState) -> None:
    assert is_onward(S.REJECTED, current=current, furthest=S.SUBMITTED)


@pytest.mark.parametrize("current", sorted(FINAL))
@pytest.mark.parametrize("reported", OrderState)
def test_nothing_moves_an_order_that_has_ended(current: OrderState, reported: OrderState) -> None:
    assert not is_onward(reported, current=current, furthest=S.SUBMITTED)


def test_what_is_shipped_completed_or_rejected_overtakes_a_cancel_request() -> None:
    assert {state for state in OrderState if is_irreversible(state)} == {S.SHIPPED, S.COMPLETED, S.REJECTED}


@settings(derandomize=True)
@given(st.lists(st.sampled_from(REPORTABLE), max_size=20))
def test_no_sequence_of_reports_takes_an_order_back_or_out_of_a_final_state(reports: list[OrderState]) -> None:
    current = furthest = S.SUBMITTED
    for reported in reports:
        before, came = current, furthest
        if is_onward(reported, current=current, furthest=furthest):
            current = reported
            furthest = max(furthest, reported, key=rank)
        assert rank(furthest) >= rank(came)
        assert before not in FINAL or current is before
        assert rank(current) in (-1, rank(furthest))
