"""What is remembered of models' times, and for how long."""

from __future__ import annotations

import pytest

from localserve.routing.measured import FORGET_SECONDS, REST_SECONDS, Measured


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_the_mean_follows_and_is_forgotten() -> None:
    clock = Clock()
    measured = Measured(clock)
    assert measured.first_token_seconds("m") is None
    measured.answered("M", 1.0)
    assert measured.first_token_seconds("m") == 1.0
    measured.answered("m", 2.0)
    assert measured.first_token_seconds("m") == pytest.approx(1.2)
    clock.now = FORGET_SECONDS + 1
    assert measured.first_token_seconds("m") is None


def test_who_failed_rests_until_it_answers_or_time_has_passed() -> None:
    clock = Clock()
    measured = Measured(clock)
    measured.failed("m")
    assert measured.rests("M")
    clock.now = REST_SECONDS
    assert not measured.rests("m")
    measured.failed("m")
    measured.answered("m", 1.0)
    assert not measured.rests("m")


def test_names_without_end_are_not_kept() -> None:
    measured = Measured(Clock())
    for number in range(2000):
        measured.failed(str(number))
    assert measured.rests("1999")
    assert not measured.rests("0")
