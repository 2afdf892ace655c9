from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from localserve.chat import Sampling
from localserve.llama.sampling.adjustments import Adjustments
from tests.llama.sampling.rows import flat_row

SIZE = 100


@given(
    st.lists(st.integers(0, SIZE - 1), max_size=200),
    st.lists(st.integers(0, SIZE - 1), max_size=30),
    st.sampled_from([-1, 0, 1, 5, 64, 1_000]),
    st.floats(0.5, 2),
    st.floats(-2, 2),
    st.floats(-2, 2),
    st.dictionaries(st.integers(0, SIZE - 1), st.floats(-100, 100), max_size=5),
    st.lists(st.integers(0, SIZE - 1), max_size=3),
)
def test_they_are_what_the_definition_says(
    history: list[int],
    answer: list[int],
    last: int,
    repeat: float,
    frequency: float,
    presence: float,
    bias: dict[int, float],
    banned: list[int],
) -> None:
    sampling = Sampling(
        repeat_penalty=repeat,
        frequency_penalty=frequency,
        presence_penalty=presence,
        repeat_last_n=last,
        logit_bias=tuple(bias.items()),
    )
    adjustments = Adjustments(sampling, history, banned)
    for token in answer:
        adjustments.accept(token)
    row = flat_row(1, SIZE)
    expected = row.copy()
    for token, by in bias.items():
        expected[token] += by
    expected[banned] = -np.inf
    seen = [*history, *answer]
    window = {-1: seen, 0: []}.get(last, seen[-last:])
    for token, count in Counter(window).items():
        by = expected[token]
        by = by * repeat if by <= 0 else by / repeat
        expected[token] = by - count * frequency - presence
    changed = adjustments.any
    adjustments.apply(row)
    np.testing.assert_allclose(row, expected, rtol=1e-4, atol=1e-4)
    assert changed or (row == flat_row(1, SIZE)).all()


def test_nothing_asked_changes_nothing() -> None:
    adjustments = Adjustments(Sampling(), [1, 2, 3], [])
    adjustments.accept(4)
    assert not adjustments.any
