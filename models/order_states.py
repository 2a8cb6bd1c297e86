"""The states of an order and what moves it from one to another; pure, without a database.

The words are NCPDP SCRIPT's where it has them. A denial is never an approval, and unknown is never success.
"""

from enum import StrEnum


class OrderState(StrEnum):
    """The contract's OrderStatus."""

    RECEIVED = "RECEIVED"
    PROCESSING = "PROCESSING"
    SUBMITTED = "SUBMITTED"
    ACKNOWLEDGED = "ACKNOWLEDGED"
    ON_HOLD = "ON_HOLD"
    FILLING = "FILLING"
    READY = "READY"
    SHIPPED = "SHIPPED"
    COMPLETED = "COMPLETED"
    CANCEL_REQUESTED = "CANCEL_REQUESTED"
    CANCELED = "CANCELED"
    REJECTED = "REJECTED"
    FAILED = "FAILED"


_S = OrderState

MOVES: dict[OrderState, frozenset[OrderState]] = {
    _S.RECEIVED: frozenset({_S.PROCESSING, _S.CANCELED}),
    _S.PROCESSING: frozenset({_S.SUBMITTED, _S.ON_HOLD, _S.FAILED, _S.CANCELED}),
    _S.SUBMITTED: frozenset({_S.ACKNOWLEDGED, _S.ON_HOLD, _S.REJECTED, _S.FAILED, _S.CANCEL_REQUESTED}),
    _S.ACKNOWLEDGED: frozenset({_S.FILLING, _S.ON_HOLD, _S.REJECTED, _S.CANCEL_REQUESTED}),
    _S.ON_HOLD: frozenset(
        {_S.PROCESSING, _S.SUBMITTED, _S.ACKNOWLEDGED, _S.FILLING, _S.REJECTED, _S.CANCEL_REQUESTED, _S.CANCELED}
    ),
    _S.FILLING: frozenset({_S.READY, _S.SHIPPED, _S.ON_HOLD, _S.REJECTED, _S.CANCEL_REQUESTED}),
    _S.READY: frozenset({_S.COMPLETED, _S.REJECTED, _S.CANCEL_REQUESTED}),
    _S.SHIPPED: frozenset({_S.COMPLETED, _S.REJECTED}),
    _S.CANCEL_REQUESTED: frozenset(set(_S) - {_S.RECEIVED, _S.PROCESSING, _S.FAILED, _S.CANCEL_REQUESTED}),
    _S.FAILED: frozenset({_S.PROCESSING, _S.CANCELED}),
    _S.COMPLETED: frozenset(),
    _S.REJECTED: frozenset(),
    _S.CANCELED: frozenset(),
}

FINAL = frozenset(state for state, onward in MOVES.items() if not onward)

# The way of an order that goes well; a pharmacy may leave out steps of it, and never goes back on it.
_WAY = (_S.RECEIVED, _S.PROCESSING, _S.SUBMITTED, _S.ACKNOWLEDGED, _S.FILLING, _S.READY, _S.SHIPPED, _S.COMPLETED)


def rank(state: OrderState) -> int:
    """How far along the way a state is; -1 for one beside it."""
    return _WAY.index(state) if state in _WAY else -1


def is_onward(reported: OrderState, *, current: OrderState, furthest: OrderState, late: bool = False) -> bool:
    """Whether a pharmacy's report moves an order that is in `current` and had come as far as `furthest`.

    A step may be skipped (SUBMITTED, then SHIPPED); a state behind changes nothing. From ON_HOLD the order goes on
    where it was or further. A `late` report is of something that happened before what was reported already: it neither
    begins a hold nor ends one, unless it tells of what cannot be undone.
    """
    if current in FINAL or reported == current:
        return False
    if reported is _S.REJECTED:
        return True
    if reported is _S.ON_HOLD:
        return not late and _S.ON_HOLD in MOVES[current]
    if rank(reported) < 0:
        return False
    if current is _S.ON_HOLD:
        return rank(reported) >= rank(furthest) and (is_irreversible(reported) or not late)
    return rank(reported) > rank(furthest)


def is_irreversible(state: OrderState) -> bool:
    """Whether a cancel request is overtaken by this report: the drug is out of the house, or never will be."""
    return state in (_S.SHIPPED, _S.COMPLETED, _S.REJECTED)
