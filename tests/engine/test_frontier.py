"""The budget of a step, on machines made of formulas."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localserve.engine.frontier import (
    LONGEST_SECONDS,
    SHORTEST_SECONDS,
    TILE,
    UNMEASURED_SECONDS,
    WORTH,
    Frontier,
)
from localserve.engine.pacer import Pacer

BATCH = 512

Cost = Callable[[int], float]
"""From a step's tokens to its seconds."""


def affine(start_seconds: float, tokens_per_second: float) -> Cost:
    return lambda tokens: start_seconds + tokens / tokens_per_second


def settle(cost: Cost, steps: int = 60) -> tuple[Pacer, int]:
    """A long prompt alone, then others beside a stream; the last chunk."""
    pacer = Pacer(None, BATCH)
    pacer.observe(0, BATCH, cost(BATCH))
    pacer.observe(1, 0, cost(1))
    chunk = 0
    for _ in range(steps):
        chunk = pacer.chunk_tokens(1)
        pacer.observe(1, chunk, cost(1 + chunk))
    return pacer, chunk


def test_before_a_prompt_was_long_enough_to_tell_the_budget_is_half_a_second() -> None:
    frontier = Frontier(BATCH)
    frontier.observe(1, 0, 0.03)
    frontier.observe(1, 31, 0.4)
    frontier.observe(0, 100, 0.8)
    assert frontier.budget_seconds == UNMEASURED_SECONDS


@pytest.mark.parametrize(
    "cost",
    [
        affine(0.06, 100.0),
        affine(0.15, 200.0),
        affine(0.02, 20.0),
        # As measured: 512 tokens at 100 a second, 64 at 82, 32 at 70, 16 at 58, 8 at 37.
        lambda tokens: tokens / (100 * tokens / (tokens + 14)),
    ],
)
def test_the_budget_is_the_shortest_step_in_which_prompts_keep_most_of_their_rate(
    cost: Cost,
) -> None:
    pacer, chunk = settle(cost)
    alone = BATCH / cost(BATCH)
    assert chunk / cost(1 + chunk) >= 0.99 * WORTH * alone or chunk + 1 == TILE
    assert cost(1 + chunk) <= 1.05 * pacer.budget_seconds
    if pacer.budget_seconds > SHORTEST_SECONDS:
        half = chunk // 2
        assert half / cost(1 + half) < WORTH * alone, "a shorter one would have been worth it"


def test_the_first_chunk_beside_a_stream_is_chosen_by_what_was_measured_alone() -> None:
    cost = affine(0.03, 150.0)
    pacer, _ = settle(cost, steps=0)
    first = pacer.chunk_tokens(1)
    _, last = settle(cost)
    assert first <= 1.5 * last
    assert cost(1 + first) < UNMEASURED_SECONDS / 2


def by_tiles(tokens: int, depth: int) -> float:
    """As measured on two cores: attention of few tokens is slow, and of what tiles leave over."""
    tiles, over = divmod(tokens, TILE)
    attention = 1e-4 * (tiles + bool(over)) if tiles else 13e-6 * over
    return 0.028 + 4.7e-3 * tokens + attention * depth


@pytest.mark.parametrize("length", [1_000, 4_000])
def test_a_long_prompt_is_computed_in_whole_tiles(length: int) -> None:
    pacer = Pacer(None, BATCH)
    pacer.observe(0, BATCH, by_tiles(BATCH, 0))
    pacer.observe(1, 0, by_tiles(1, 100))
    depth, steps = 0, []
    while depth < length:
        chunk = pacer.first_part(length - depth, pacer.chunk_tokens(1), 1)
        chunk = min(chunk, length - depth)
        steps.append((chunk, by_tiles(1 + chunk, depth)))
        pacer.observe(1, chunk, steps[-1][1])
        assert steps[-1][1] <= 2 * pacer.budget_seconds
        depth += chunk
    assert [chunk for chunk, _ in steps[-8:]] == [TILE - 1] * 8
    alone = sum(by_tiles(min(BATCH, length - at), at) for at in range(0, length, BATCH))
    assert sum(seconds for _, seconds in steps) <= 1.3 * alone  # the first chunks are small


@pytest.mark.parametrize("budget", [None, 0.8])
def test_a_disturbed_step_does_not_end_the_tiles(budget: float | None) -> None:
    pacer = Pacer(budget, BATCH)
    pacer.observe(0, BATCH, by_tiles(BATCH, 0))
    pacer.observe(1, 0, by_tiles(1, 100))
    chunks = []
    for number in range(60):
        depth = 2_000 + TILE * number
        chunks.append(pacer.chunk_tokens(1))
        disturbed = 4.0 if number in (20, 21) else 1.0
        pacer.observe(1, chunks[-1], disturbed * by_tiles(1 + chunks[-1], depth))
    assert chunks[-1] == TILE - 1
    if budget is None:
        assert set(chunks[10:]) == {TILE - 1}


def test_a_quick_machine_has_the_shortest_budget() -> None:
    pacer, chunk = settle(affine(0.004, 8_000.0))
    assert pacer.budget_seconds == SHORTEST_SECONDS
    assert chunk > 400


def test_where_small_steps_are_never_worth_it_the_budget_stays_below_a_stall() -> None:
    pacer, _ = settle(affine(2.0, 100.0))
    assert pacer.budget_seconds == LONGEST_SECONDS


def test_a_machine_that_becomes_busy_is_followed() -> None:
    quick = affine(0.01, 500.0)
    pacer, _ = settle(quick)
    before = pacer.budget_seconds
    slow = affine(0.2, 100.0)
    pacer.observe(1, 0, slow(1))
    for _ in range(60):
        pacer.observe(0, BATCH, slow(BATCH))
        chunk = pacer.chunk_tokens(1)
        pacer.observe(1, chunk, slow(1 + chunk))
    assert before < pacer.budget_seconds <= LONGEST_SECONDS


@given(
    st.lists(
        st.tuples(st.integers(0, 8), st.integers(0, BATCH), st.floats(0.0, 100.0)), max_size=40
    )
)
def test_whatever_is_measured_the_budget_stays_within_its_bounds(
    steps: list[tuple[int, int, float]],
) -> None:
    frontier = Frontier(BATCH)
    for answering, prompt_tokens, seconds in steps:
        frontier.observe(answering, prompt_tokens, seconds)
        assert SHORTEST_SECONDS <= frontier.budget_seconds <= LONGEST_SECONDS
