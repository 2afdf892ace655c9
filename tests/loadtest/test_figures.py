"""Percentiles, rates and saturation, from numbers alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localserve.loadtest.answer import Answer, Failure
from localserve.loadtest.figures import (
    Distribution,
    StepFigures,
    distribution,
    percentile,
    saturation,
    step_figures,
)


def step(users: int, tokens_per_second: float) -> StepFigures:
    return StepFigures(users, 10.0, 5, {}, None, None, None, tokens_per_second)


def test_percentiles_are_values_that_were_measured() -> None:
    hundred = [float(number) for number in range(100, 0, -1)]
    assert distribution(hundred) == Distribution(50.0, 95.0, 99.0)
    assert distribution([3.0]) == Distribution(3.0, 3.0, 3.0)
    assert distribution([1.0, 2.0]) == Distribution(1.0, 2.0, 2.0)
    assert distribution([]) is None
    with pytest.raises(ValueError, match="no values"):
        percentile([], 50)


@given(st.lists(st.floats(0, 1e6), min_size=1), st.floats(0, 100))
def test_as_many_as_the_percentile_says_are_no_larger(values: list[float], percent: float) -> None:
    found = percentile(values, percent)
    assert found in values
    assert 100 * sum(value <= found for value in values) >= percent * len(values) - 1e-6


def test_a_step_counts_answers_and_failures_apart() -> None:
    outcomes = [
        Answer(sent=0.0, ended=1.5, arrivals=(0.25, 0.5, 1.0), tokens=3),
        Answer(sent=0.5, ended=2.5, arrivals=(1.0, 2.0), tokens=2),
        Failure("503 overloaded", "Too many wait."),
        Failure("503 overloaded", "Too many wait."),
        Failure("time-out", "time-out"),
    ]
    found = step_figures(4, 0.0, 1.5, outcomes)
    assert (found.users, found.requests) == (4, 5)
    assert found.errors == {"503 overloaded": 2, "time-out": 1}
    assert found.error_rate == 0.6
    assert found.ttft == Distribution(0.25, 0.5, 0.5)
    assert found.itl == Distribution(0.5, 1.0, 1.0)
    assert found.total == Distribution(1.5, 2.0, 2.0)


def test_tokens_count_that_came_while_the_step_lasted() -> None:
    late = Answer(sent=0.0, ended=9.0, arrivals=(1.0, 2.0, 3.0, 8.0), tokens=8)
    assert step_figures(1, 0.0, 4.0, [late]).tokens_per_second == 6 / 4.0
    assert step_figures(1, 0.0, 10.0, [late]).tokens_per_second == 8 / 10.0


def test_a_step_without_answers_has_no_distribution() -> None:
    found = step_figures(1, 0.0, 1.0, [Failure("401", "No.")])
    assert (found.ttft, found.itl, found.total) == (None, None, None)
    assert (found.tokens_per_second, found.error_rate) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("rates", "users"),
    [
        ([10, 19, 36, 37], 4),
        ([10, 11, 10.5, 9], 1),
        ([10, 20, 40, 80], None),
        ([10], None),
        ([], None),
        ([0, 0], None),
        ([10, 20, 5, 12], 2),
    ],
)
def test_it_saturates_where_more_users_gain_less_than_a_tenth(
    rates: list[float], users: int | None
) -> None:
    found = saturation([step(2**number, rate) for number, rate in enumerate(rates)])
    assert (found.users if found else None) == users
