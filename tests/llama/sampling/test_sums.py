from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from localserve.llama.sampling.sums import BLOCK, RunningSums

LENGTHS = st.integers(1, 60) | st.sampled_from([BLOCK - 1, BLOCK, BLOCK + 1, 5 * BLOCK + 3])


def whole_numbers(seed: int, length: int) -> np.ndarray:
    """Their sums are exact; many are 0."""
    weights = np.random.default_rng(seed).integers(0, 4, length).astype(np.float32)
    weights[seed % length] = 3
    return weights


@settings(deadline=None)
@given(st.integers(0, 500), LENGTHS, st.floats(0, 1, exclude_max=True))
def test_places_are_those_of_the_sum_over_all(seed: int, length: int, share: float) -> None:
    weights = whole_numbers(seed, length)
    sums = RunningSums(weights)
    after = weights.cumsum(dtype=np.float64)
    assert sums.total == after[-1]
    target = share * sums.total
    for asked in (target, float(int(target))):
        assert sums.exceeding(asked) == int((after > asked).argmax())
        assert sums.reaching(asked) == int((after >= asked).argmax())
    assert sums.upto(seed % length) == after[seed % length]


@pytest.mark.parametrize("length", [5, BLOCK, 3 * BLOCK + 7])
def test_a_target_that_rounding_put_out_of_reach_is_the_last_that_weighs(length: int) -> None:
    weights = np.ones(length, dtype=np.float32)
    weights[length - 3 :] = 0
    sums = RunningSums(weights)
    assert sums.exceeding(sums.total) == length - 4
    assert sums.reaching(sums.total * 1.001) == length - 4
