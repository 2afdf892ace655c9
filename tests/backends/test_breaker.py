"""The circuit breaker, by a clock that is turned by hand."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from localserve.backends.breaker import FAILURES, OPEN_SECONDS, Breaker


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def opened(clock: Clock) -> Breaker:
    breaker = Breaker(clock)
    for _ in range(FAILURES):
        breaker.enter()
        breaker.failed()
    return breaker


def test_failures_in_a_row_open_it_for_a_while() -> None:
    clock = Clock()
    breaker = opened(clock)
    assert (breaker.state, breaker.lets_through) == ("open", False)
    assert breaker.seconds_left == OPEN_SECONDS
    clock.now += OPEN_SECONDS
    assert (breaker.state, breaker.lets_through) == ("half-open", True)


def test_a_success_between_keeps_it_closed() -> None:
    breaker = Breaker(Clock())
    for _ in range(5 * FAILURES):
        breaker.failed()
        breaker.succeeded()
    assert breaker.state == "closed"


def test_half_open_lets_one_through_who_decides() -> None:
    clock = Clock()
    breaker = opened(clock)
    clock.now += OPEN_SECONDS
    breaker.enter()
    assert not breaker.lets_through
    breaker.failed()
    assert breaker.state == "open"
    clock.now += OPEN_SECONDS
    breaker.enter()
    breaker.succeeded()
    assert breaker.state == "closed"


def test_a_probe_that_leaves_makes_room_for_the_next() -> None:
    clock = Clock()
    breaker = opened(clock)
    clock.now += OPEN_SECONDS
    breaker.enter()
    breaker.given_up()
    assert breaker.lets_through


@given(st.lists(st.sampled_from(["enter", "succeeded", "failed", "given_up", "wait"])))
def test_it_never_stays_shut(steps: list[str]) -> None:
    clock = Clock()
    breaker = Breaker(clock)
    for step in steps:
        if step == "wait":
            clock.now += OPEN_SECONDS / 2
        elif step != "enter" or breaker.lets_through:
            getattr(breaker, step)()
    breaker.given_up()
    clock.now += OPEN_SECONDS
    assert breaker.lets_through
