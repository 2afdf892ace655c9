from __future__ import annotations

import pytest

from localserve.engine.frontier import ROWS
from localserve.engine.pacer import FIRST_CHUNK, SMALLEST_CHUNK, Pacer


def test_without_running_answers_a_step_takes_a_whole_batch() -> None:
    assert Pacer(0.5, 512).chunk_tokens(0) == 512


def test_before_anything_is_measured_a_chunk_beside_answers_is_small() -> None:
    assert Pacer(0.5, 512).chunk_tokens(1) == FIRST_CHUNK - 1


def test_chunk_and_answers_together_fit_into_a_batch() -> None:
    pacer = Pacer(1000.0, 64)
    pacer.observe(0, 64, 0.001)
    assert pacer.chunk_tokens(60) == 4


def test_chunks_keep_to_the_budget_that_was_measured() -> None:
    pacer = Pacer(0.5, 512)
    pacer.observe(4, 0, 0.1)
    pacer.observe(0, 100, 1.0)
    assert 40 - ROWS < pacer.chunk_tokens(4) <= 40


def test_what_answers_cost_is_not_charged_to_the_prompt() -> None:
    pacer = Pacer(0.5, 512)
    pacer.observe(4, 0, 0.1)
    pacer.observe(4, 100, 0.1 + 1.0)
    assert 40 - ROWS < pacer.chunk_tokens(4) <= 40


@pytest.mark.parametrize("answering", [1, 3, 4, 8, 15, 16])
def test_prompts_and_answers_together_leave_no_row_over(answering: int) -> None:
    """A kernel takes sixteen tokens at a time, of few tokens four."""
    for seconds in (0.2, 0.3, 0.5, 0.8, 1.3):
        pacer = Pacer(seconds, 512)
        pacer.observe(answering, 0, 0.1)
        pacer.observe(0, 100, 1.0)
        total = answering + pacer.chunk_tokens(answering)
        assert total % (ROWS if total >= 2 * ROWS else 4) == 0


def test_a_prompt_advances_even_where_answers_use_up_the_budget() -> None:
    pacer = Pacer(0.5, 512)
    pacer.observe(8, 0, 3.0)
    pacer.observe(0, 512, 5.0)
    assert pacer.chunk_tokens(8) == SMALLEST_CHUNK


def test_a_machine_that_slows_down_is_followed_within_a_few_steps() -> None:
    pacer = Pacer(0.5, 512)
    pacer.observe(0, 512, 0.512)
    for _ in range(12):
        pacer.observe(0, 512, 5.12)
    assert 50 - ROWS < pacer.chunk_tokens(1) <= 52


def test_a_step_too_short_for_the_clock_stops_nothing() -> None:
    pacer = Pacer(0.5, 512)
    pacer.observe(0, 64, 0.0)
    assert pacer.chunk_tokens(1) == 511


def test_a_budget_that_somebody_set_stays_as_it_is() -> None:
    pacer = Pacer(0.05, 512)
    pacer.observe(0, 512, 5.0)
    pacer.observe(1, 7, 0.3)
    assert pacer.budget_seconds == 0.05


def test_in_a_hurry_a_step_keeps_to_its_budget_though_nobody_streams() -> None:
    pacer = Pacer(0.5, 512)
    pacer.observe(4, 0, 0.4)
    pacer.observe(0, 512, 5.12)
    assert pacer.chunk_tokens(0) == 512
    assert pacer.chunk_tokens(0, hurry=True) == 48
