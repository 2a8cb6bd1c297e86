"""What the bench takes for a figure, and what it refuses."""

from dataclasses import replace

import pytest

from bench import rounds
from bench.figures import CPU, RATE, Spread, Verdict, ratio
from bench.load import Load
from bench.rounds import Refused, Slice, faults

RIGHT = Slice(Load(100, 1.0, 0, 0, 10.0, 20.0), stored=101, server_cpu=0.4, database_cpu=0.1)


def at(rate: int, *, stored: int | None = None) -> Slice:
    return replace(RIGHT, load=replace(RIGHT.load, answers=rate), stored=rate if stored is None else stored)


class Scripted:
    """A subject that does what it was told, slice after slice."""

    def __init__(self, name: str, *slices: Slice) -> None:
        self.name = name
        self._slices = iter(slices)

    def work(self, _connections: int) -> Slice:
        return next(self._slices)


def test_the_median_is_of_the_ratios_of_rounds_and_not_the_ratio_of_medians() -> None:
    took = [{"a": at(a), "b": at(b)} for a, b in ((100, 10), (40, 20), (90, 30))]
    assert ratio(took, "a", "b", RATE) == Spread(3, 2, 10)


def test_cpu_is_counted_for_orders_that_were_stored_after_their_client_had_gone_too() -> None:
    assert CPU(at(50, stored=100)) == pytest.approx(5)


@pytest.mark.parametrize(
    ("slice_", "fault"),
    [
        (replace(RIGHT, stored=99), "100 answers, 99 stored"),
        (replace(RIGHT, load=replace(RIGHT.load, wrong=1)), "1 wrong answers"),
        (replace(RIGHT, load=replace(RIGHT.load, broken=2)), "2 broken connections"),
        (replace(RIGHT, load=replace(RIGHT.load, answers=0)), "no answers"),
    ],
)
def test_a_slice_that_was_not_all_right_is_worth_nothing(slice_: Slice, fault: str) -> None:
    assert faults(RIGHT) == []
    assert faults(slice_) == [fault]


def test_who_only_reads_need_not_store() -> None:
    assert faults(replace(RIGHT, stored=0), writes=False) == []


def test_a_round_in_which_anybody_was_wrong_counts_for_nobody(capsys: pytest.CaptureFixture[str]) -> None:
    ours, theirs = Scripted("ours", at(1), at(2), at(3)), Scripted("theirs", at(4), at(5, stored=4), at(6))
    kept = rounds.run([ours, theirs], connections=1, rounds=3)
    assert [took["ours"].load.answers for took in kept] == [1, 3]
    assert "theirs: 5 answers, 4 stored" in capsys.readouterr().err


def test_subjects_take_turns_at_being_first_and_are_told_of_in_their_own_order() -> None:
    began: list[str] = []

    class Noted(Scripted):
        def work(self, connections: int) -> Slice:
            began.append(self.name)
            return super().work(connections)

    kept = rounds.run([Noted("a", at(1), at(2)), Noted("b", at(3), at(4))], connections=1, rounds=2)
    assert began == ["b", "a", "a", "b"]
    assert [list(took) for took in kept] == [["a", "b"]] * 2


def test_a_run_with_as_many_wrong_rounds_as_right_ones_is_refused() -> None:
    with pytest.raises(Refused):
        rounds.run([Scripted("ours", at(1), at(2, stored=0))], connections=1, rounds=2)


@pytest.mark.parametrize(("measured", "at_most", "met"), [(8, False, True), (7.9, False, False), (8.1, True, False)])
def test_a_target_is_met_from_its_bound_on(measured: float, at_most: bool, met: bool) -> None:
    assert Verdict("", Spread(measured, 0, 100), 8, at_most=at_most).met == met
