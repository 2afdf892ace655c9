"""Where guesses come from, and when they are made."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from localserve.engine.guessing import Lookup, StepCosts, best_length, expected_right
from localserve.engine.scripted import ScriptedRunner
from tests.engine.rig import Rig, request

SLOW = {1: 0.030, 8: 0.216, 16: 0.276, 32: 0.457, 64: 0.780, 512: 5.12}
"""Steps of a 0.6B model on two cores."""
QUICK = {1: 0.010, 8: 0.0105, 64: 0.012, 512: 0.05}
"""The like of a GPU."""


def costs(table: dict[int, float]) -> StepCosts:
    measured = StepCosts()
    for tokens, seconds in table.items():
        measured.observe(tokens, seconds)
    return measured


def test_a_guess_is_what_followed_before() -> None:
    lookup = Lookup([1, 2, 3, 4, 5, 6, 9, 1, 2, 3])
    assert lookup.guess(10) == [4, 5, 6, 9, 1, 2, 3]
    assert lookup.guess(2) == [4, 5]


def test_the_newest_place_is_taken() -> None:
    assert Lookup([1, 2, 3, 4, 1, 2, 3, 5, 1, 2, 3]).guess(1) == [5]


def test_nothing_is_guessed_where_nothing_matches() -> None:
    assert Lookup([]).guess(5) == []
    assert Lookup([1, 2, 3]).guess(5) == []
    assert Lookup([1, 2, 3, 4, 9, 2, 3]).guess(5) == []


def test_a_match_goes_on_with_what_the_model_says() -> None:
    lookup = Lookup([1, 2, 3, 4, 5, 6, 9, 1, 2, 3])
    before = lookup.confidence
    lookup.append(4)
    assert lookup.guess(2) == [5, 6]
    assert lookup.confidence > before
    lookup.append(7)
    assert lookup.guess(2) == []


def test_a_repeated_token_guesses_itself() -> None:
    lookup = Lookup([7, 7, 7, 7])
    assert lookup.guess(8) == [7]
    lookup.append(7)
    assert lookup.guess(8) == [7]


@given(st.lists(st.integers(0, 3), max_size=60), st.lists(st.integers(0, 3), max_size=60))
def test_a_guess_always_follows_the_same_tokens(prompt: list[int], answer: list[int]) -> None:
    lookup = Lookup(prompt)
    tokens = list(prompt)
    for token in answer:
        lookup.append(token)
        tokens.append(token)
        guess = lookup.guess(4)
        places = [
            at
            for at in range(len(tokens) - 3)
            if tokens[at : at + 3] == tokens[-3:] and tokens[at + 3 : at + 3 + len(guess)] == guess
        ]
        repeats = any(tokens[at : at + 3] == tokens[-3:] for at in range(len(tokens) - 3))
        assert bool(guess) == repeats
        assert places or not guess


def test_wrong_guesses_cost_confidence_and_right_ones_bring_it_back() -> None:
    lookup = Lookup([1, 2, 3, 4, 1, 2, 3])
    first = lookup.confidence
    for _ in range(5):
        lookup.settle(3, 0)
    low = lookup.confidence
    assert low < first / 1.5
    for _ in range(5):
        lookup.settle(8, 8)
    assert lookup.confidence > 0.9


def test_costs_lie_on_lines_between_what_was_measured() -> None:
    measured = costs({1: 0.1, 9: 0.5})
    assert measured.seconds(5) == pytest.approx(0.3)
    assert measured.seconds(10) is None


def test_costs_follow_a_machine_that_slows_down() -> None:
    measured = costs({1: 0.1})
    for _ in range(40):
        measured.observe(1, 0.2)
    assert measured.seconds(1) == pytest.approx(0.2, rel=0.01)


def test_a_step_that_was_disturbed_hardly_counts() -> None:
    measured = costs({1: 0.1})
    for _ in range(3):
        measured.observe(1, 0.5)
        for _ in range(4):
            measured.observe(1, 0.1)
    assert measured.seconds(1) == pytest.approx(0.1, rel=0.06)


def test_a_smaller_step_takes_no_longer_than_a_larger_one() -> None:
    measured = costs({1: 0.9, 4: 0.12, 64: 0.5})
    assert measured.seconds(1) == pytest.approx(0.12)
    assert measured.seconds(64) == pytest.approx(0.5)


def test_costs_beyond_what_was_measured_are_stretched_where_that_is_asked() -> None:
    tokens = np.array([1.0, 4.0, 20.0])
    assert costs({2: 0.1, 10: 0.5}).stretched_seconds_of(tokens) == pytest.approx([0.1, 0.2, 1.0])
    assert np.isnan(StepCosts().stretched_seconds_of(tokens)).all()


def test_nothing_is_known_before_it_was_measured() -> None:
    assert StepCosts().seconds(1) is None
    assert costs({8: 0.1}).seconds(1) is None
    assert costs({1: 0.1}).seconds(8) is None


def test_a_slow_machine_guesses_only_what_is_nearly_certain() -> None:
    measured = costs(SLOW)
    assert best_length(measured, 1, 1, 0.75, 63) == 0
    assert best_length(measured, 1, 1, 0.9, 63) == 0
    assert best_length(measured, 1, 1, 0.995, 63) >= 31


def test_a_quick_machine_guesses_early() -> None:
    assert best_length(costs(QUICK), 1, 1, 0.75, 63) >= 3


def test_no_guess_without_measurements() -> None:
    assert best_length(StepCosts(), 1, 1, 0.99, 63) == 0
    assert best_length(costs({1: 0.03}), 1, 1, 0.99, 63) == 0


@pytest.mark.parametrize("confidence", [0.0, 0.3, 0.9, 1.0])
def test_expected_tokens(confidence: float) -> None:
    assert expected_right(confidence, 3) == pytest.approx(sum(confidence**n for n in (1, 2, 3)))


def test_an_answer_that_repeats_its_prompt_takes_fewer_steps_and_says_the_same() -> None:
    wanted = b"def add(a, b): return a + b # and so on, for a while; " * 3
    plain, ahead = Rig(ScriptedRunner()), Rig(ScriptedRunner(guess_tokens=15))
    texts = []
    for rig in (plain, ahead):
        sequence = rig.submit(request(b"copy this:\n" + wanted + b"\n"))
        rig.finish()
        texts.append(rig.text(sequence).encode())
        assert rig.ended(sequence).completion_tokens == len(wanted) + 1
    assert texts == [wanted, wanted]
    assert ahead.runner.steps < plain.runner.steps / 4


def test_an_answer_that_repeats_nothing_computes_no_token_twice() -> None:
    rig = Rig(ScriptedRunner(guess_tokens=15, script=lambda text: len(text) % 251))
    rig.submit(request(b"\xff\xfe\xfd", max_tokens=200))
    rig.finish()
    assert rig.runner.computed_tokens == 3 + 199


def test_guesses_stay_within_what_a_step_may_have_for_all_together() -> None:
    rig = Rig(ScriptedRunner(guess_tokens=8, batch_tokens=16), max_running=4)
    for name in b"wxyz":
        rig.submit(request(b"%c\n" % name + b"abcabcabcabcabcabcabc" * 3 + b"\n"))
    most = 0
    while not rig.scheduler.idle:
        rig.step()
        most = max(most, rig.step_taken.guessed_tokens)
    assert 0 < most <= 8
