"""The circuit breaker, by a clock that is turned by hand."""

from __future__ import annotations

import pytest
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
        passage = breaker.enter()
        breaker.failed()
        breaker.leave(passage)
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
    probe = breaker.enter()
    assert not breaker.lets_through
    breaker.failed()
    breaker.leave(probe)
    assert breaker.state == "open"
    clock.now += OPEN_SECONDS
    probe = breaker.enter()
    breaker.succeeded()
    breaker.leave(probe)
    assert breaker.state == "closed"


def test_a_probe_that_leaves_makes_room_for_the_next() -> None:
    clock = Clock()
    breaker = opened(clock)
    clock.now += OPEN_SECONDS
    breaker.leave(breaker.enter())
    assert breaker.lets_through


@pytest.mark.parametrize("fails", [False, True])
def test_who_went_through_earlier_makes_no_room_beside_the_probe(fails: bool) -> None:
    clock = Clock()
    breaker = Breaker(clock)
    early = breaker.enter()
    for _ in range(FAILURES):
        passage = breaker.enter()
        breaker.failed()
        breaker.leave(passage)
    clock.now += OPEN_SECONDS
    probe = breaker.enter()
    if fails:
        breaker.failed()
        clock.now += OPEN_SECONDS
    breaker.leave(early)
    assert breaker.state == "half-open"
    assert not breaker.lets_through
    breaker.leave(probe)
    assert breaker.lets_through


def test_a_success_ends_the_probe_even_if_it_goes_on() -> None:
    clock = Clock()
    breaker = opened(clock)
    clock.now += OPEN_SECONDS
    probe = breaker.enter()
    breaker.succeeded()
    for _ in range(FAILURES):
        breaker.failed()
    clock.now += OPEN_SECONDS
    second = breaker.enter()
    breaker.leave(probe)
    assert not breaker.lets_through
    breaker.leave(second)
    assert breaker.lets_through


@given(st.lists(st.sampled_from(["enter", "succeeded", "failed", "leave", "wait"])))
def test_once_all_have_left_it_never_stays_shut(steps: list[str]) -> None:
    clock = Clock()
    breaker = Breaker(clock)
    inside: list[int] = []
    for step in steps:
        if step == "wait":
            clock.now += OPEN_SECONDS / 2
        elif step == "enter":
            if breaker.lets_through:
                inside.append(breaker.enter())
        elif step != "leave":
            getattr(breaker, step)()
        elif inside:
            breaker.leave(inside.pop(0))
    for passage in inside:
        breaker.leave(passage)
    clock.now += OPEN_SECONDS
    assert breaker.lets_through
