"""Ratios of medians."""

from __future__ import annotations

import pytest

from benchmarks.ratios import Goal, Ratio, ratio_of_medians


def test_the_ratio_is_of_the_medians_and_the_spread_of_the_pairs() -> None:
    assert ratio_of_medians([10, 30, 20], [10, 20, 40]) == Ratio(1.0, 0.5, 1.5)


def test_one_slow_run_moves_the_spread_but_not_the_ratio() -> None:
    ratio = ratio_of_medians([10, 1, 10, 10, 10], [10, 10, 10, 10, 10])

    assert ratio == Ratio(1.0, 0.1, 1.0)


@pytest.mark.parametrize(("ours", "theirs"), [([], []), ([1.0], [1.0, 2.0]), ([1.0], [0.0])])
def test_what_has_no_ratio_is_refused(ours: list[float], theirs: list[float]) -> None:
    with pytest.raises(ValueError, match=r"compared|positive"):
        ratio_of_medians(ours, theirs)


@pytest.mark.parametrize(
    ("goal", "met", "missed", "text"),
    [(Goal(0.98), 0.98, 0.979, "≥ 0.98"), (Goal(0.1, at_most=True), 0.1, 0.101, "≤ 0.10")],
)
def test_a_goal_includes_its_bound(goal: Goal, met: float, missed: float, text: str) -> None:
    assert goal.is_met(met)
    assert not goal.is_met(missed)
    assert str(goal) == text
