"""What comes before a token is what does after a full sort."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from localserve.llama.sampling.row import Row
from localserve.llama.sampling.scan import Scan
from localserve.llama.sampling.weights import Workspace
from tests.llama.sampling.rows import VOCABULARY, flat_row, rows

EXACTLY = settings(deadline=None, derandomize=True, max_examples=100)


def scan_of(row: Row) -> Scan:
    scan = Scan(len(row), 8, Workspace(len(row)))
    scan.read(row)
    return scan


def shares_before(row: Row) -> tuple[np.ndarray, np.ndarray]:
    """The ids, largest logit first, and what share of all comes before each."""
    order = np.argsort(-row, kind="stable")
    weights = np.exp(row[order].astype(np.float64) - row.max())
    return order, (weights.cumsum() - weights) / weights.sum()


@EXACTLY
@given(rows(), st.floats(0, 1, exclude_max=True))
def test_weights_before_a_token_are_those_of_a_sorted_row(row: Row, share: float) -> None:
    order, before = shares_before(row)
    place = int(share * np.count_nonzero(row > -np.inf))
    scan = scan_of(row)
    total = scan.weights(1.0).total
    assert scan.weight_before(int(order[place])) / total == pytest.approx(before[place], abs=1e-6)


@pytest.mark.parametrize("spread", [3.0, 5.0])
@pytest.mark.parametrize("place", [0, 1, 3, 40, 1_000])
def test_what_many_small_weights_are_lifted_by_does_not_drown_the_large(
    spread: float, place: int
) -> None:
    row = flat_row(1, VOCABULARY, spread)
    order, before = shares_before(row)
    scan = scan_of(row)
    total = scan.weights(1.0).total
    assert scan.weight_before(int(order[place])) / total == pytest.approx(before[place], abs=1e-7)


def test_of_equal_tokens_the_lower_ids_come_before() -> None:
    row = np.zeros(4_000, dtype=np.float32)
    row[::2] = np.log(np.float32(2.0))
    scan = scan_of(row)
    for token, before in ((0, 0.0), (2, 2.0), (3_998, 3_998.0), (1, 4_000.0), (3_999, 5_999.0)):
        assert scan.weight_before(token) == pytest.approx(before, abs=1e-3)


def test_the_weights_of_temperature_1_stay() -> None:
    row = flat_row(2, 5_000)
    scan = scan_of(row)
    whole = scan.weights(1.0)
    scan.weights(0.7)
    scan.weight_before(17)
    assert scan.weights(1.0) is whole
    expected = scan_of(row).weights(1.0)
    for uniform in (0.0, 0.3, 0.9999):
        assert whole.draw(uniform) == expected.draw(uniform)
