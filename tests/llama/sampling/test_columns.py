"""The largest logits are those of a full sort, whatever the row looks like."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from localserve.llama.sampling.columns import LOWEST, Columns
from localserve.llama.sampling.row import NoChoice, Row
from tests.llama.sampling.rows import VOCABULARY, flat_row, rows


def columns_of(row: Row, most: int) -> Columns:
    columns = Columns(len(row), most)
    columns.read(row)
    return columns


@settings(deadline=None)
@given(rows(), st.integers(1, 300), st.integers(0, 300))
def test_the_largest_are_those_of_a_stable_sort(row: Row, count: int, most: int) -> None:
    ids, logits = columns_of(row, most).largest(count)
    expected = np.argsort(-row, kind="stable")[:count]
    expected = expected[row[expected] > -np.inf]
    assert ids.tolist() == expected.tolist()
    assert logits.tolist() == row[expected].tolist()


@settings(deadline=None)
@given(rows(), st.integers(1, 300))
def test_at_least_so_many_reach_the_threshold_and_it_is_close(row: Row, count: int) -> None:
    threshold = columns_of(row, count).threshold(count)
    reaching = int((row >= threshold).sum())
    assert reaching >= min(count, int((row > -np.inf).sum()))
    assert threshold == LOWEST or int((row > threshold).sum()) <= 2 * count + 8


@settings(deadline=None)
@given(rows(), st.floats(0, 1), st.integers(0, 300))
def test_all_that_reach_a_threshold_are_found_in_order(
    row: Row, quantile: float, most: int
) -> None:
    threshold = np.sort(row)[int(quantile * (len(row) - 1))]
    if threshold == -np.inf:
        threshold = LOWEST
    ids, logits = columns_of(row, most).reaching(threshold)
    assert ids.tolist() == np.flatnonzero(row >= threshold).tolist()
    assert logits.tolist() == row[ids].tolist()


@pytest.mark.parametrize("size", [1, 2, 31, 100, 4_097, VOCABULARY])
@pytest.mark.parametrize("most", [0, 1, 40, 10_000])
def test_the_largest_logit_is_read_wherever_it_lies(size: int, most: int) -> None:
    columns = Columns(size, most)
    row = flat_row(size, size)
    for place in {0, size // 2, size - 1, *range(max(0, size - 40), size)}:
        higher = row.copy()
        higher[place] = 50
        assert columns.read(higher) == 50
        assert columns.largest(1)[0].tolist() == [place]


@settings(deadline=None)
@given(rows(), st.floats(0, 8), st.integers(0, 300))
def test_what_is_near_are_whole_columns_and_the_rest_is_below(
    row: Row, distance: float, most: int
) -> None:
    columns = columns_of(row, most)
    peak = row.max()
    reached = columns.reached(peak - np.float32(distance))
    near = columns.near(peak - np.float32(distance), peak, reached)
    assert near is not None
    ids = [near.id_at(place) for place in range(len(near.logits))]
    assert ids == sorted(set(ids))
    assert near.logits.tolist() == row[ids].tolist()
    others = np.delete(row, ids)
    assert others.max(initial=-np.inf) < peak - np.float32(distance)
    assert (others - peak).max(initial=-np.inf) == near.rest.max()
    assert columns.near(peak - np.float32(distance), peak, reached - 1) is None
    assert np.exp(others - peak).sum() <= near.lines * np.exp(near.rest).sum() * (1 + 1e-6)


def test_columns_count_once_however_many_of_their_logits_reach_a_threshold() -> None:
    row = np.zeros(64_000, dtype=np.float32)
    row[:5] = 3.0
    row[2_000:2_003] = 4.0
    columns = columns_of(row, 0)
    assert columns.count == 2_000
    assert [columns.reached(np.float32(value)) for value in (0.0, 3.0, 4.0, 5.0)] == [
        2_000,
        5,
        3,
        0,
    ]


@pytest.mark.parametrize(
    ("value", "reason"),
    [(np.nan, "not all of the 1000 logits are numbers"), (np.inf, "is infinite")],
)
@pytest.mark.parametrize("place", [0, 499, 999])
def test_what_is_no_number_is_refused_wherever_it_lies(
    value: float, reason: str, place: int
) -> None:
    row = flat_row(1, 1_000)
    row[place] = value
    with pytest.raises(NoChoice, match=reason):
        Columns(1_000, 40).read(row)


def test_a_row_without_a_possible_token_is_refused() -> None:
    with pytest.raises(NoChoice, match="none of the 100 tokens"):
        Columns(100, 40).read(np.full(100, -np.inf, dtype=np.float32))
