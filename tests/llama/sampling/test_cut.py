"""Where running sums pass a value is where they do after a full sort, whatever the sample says."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from localserve.llama.sampling.cut import STRIDE, Cut, Sample, find_cut, lift
from localserve.llama.sampling.row import Row
from localserve.llama.sampling.sums import Side
from localserve.llama.sampling.weights import Workspace, weigh
from tests.llama.sampling.rows import VOCABULARY, flat_row, rows

EXACTLY = settings(deadline=None, derandomize=True, max_examples=100)


def cut_of(row: Row, share: float, side: Side, temperature: float) -> tuple[Cut, Workspace]:
    workspace = Workspace(len(row))
    weigher = partial(weigh, peak=float(row.max()), temperature=temperature)
    weigher(row, out=workspace.weights)
    total = float(workspace.weights.sum(dtype=np.float64))
    sample = Sample.of(row, weigher)
    cut = find_cut(row, workspace, weigher, sample, target=share * total, total=total, side=side)
    return cut, workspace


def assert_there(
    cut: Cut, row: Row, share: float, temperature: float, within: float = 1e-6
) -> None:
    """The sums before and after the cut are on either side of the share, but for rounding."""
    order = np.argsort(-row, kind="stable")
    weights = np.exp((row[order].astype(np.float64) - row.max()) / temperature)
    after = weights.cumsum() / weights.sum()
    assert order[cut.place] == cut.token
    assert row[cut.token] == cut.logit
    assert after[cut.place] >= share - within
    assert cut.place == 0 or after[cut.place - 1] <= share + within


@EXACTLY
@given(
    rows(),
    st.floats(0, 1, exclude_max=True),
    st.sampled_from(["left", "right"]),
    st.sampled_from([0.5, 1.0, 2.0]),
)
def test_it_is_where_a_sort_has_it(row: Row, share: float, side: Side, temperature: float) -> None:
    cut, _ = cut_of(row, share, side, temperature)
    assert_there(cut, row, share, temperature)


@pytest.mark.parametrize("size", [STRIDE * 100, 50_001, VOCABULARY])
@pytest.mark.parametrize("by", [-np.inf, -3.0, 3.0, 9.0])
@pytest.mark.parametrize("share", [0.0, 0.03, 0.5, 0.97, 1 - 1e-9])
def test_a_sample_that_is_not_like_the_row_misleads_nobody(
    size: int, by: float, share: float
) -> None:
    row = flat_row(size, size)
    row[::STRIDE] += np.float32(by)
    for side in ("left", "right"):
        cut, _ = cut_of(row, share, side, 1.0)
        assert_there(cut, row, share, 1.0)


@pytest.mark.parametrize("spread", [3.0, 5.0])
@pytest.mark.parametrize("share", [1e-4, 0.003, 0.02, 0.1, 0.3])
def test_what_many_small_weights_are_lifted_by_does_not_drown_the_large(
    spread: float, share: float
) -> None:
    row = flat_row(1, VOCABULARY, spread)
    cut, _ = cut_of(row, share, "right", 1.0)
    assert_there(cut, row, share, 1.0, within=1e-7)


def test_whole_numbers_are_cut_exactly() -> None:
    """Weights of 1 and 2, whose sums are exact: at least, or more than."""
    row = np.zeros(4_000, dtype=np.float32)
    row[::2] = 1.0
    order = np.argsort(-row, kind="stable")
    cases: list[tuple[float, Side, int]] = [
        (4_000.0, "left", 1_999),
        (4_000.0, "right", 2_000),
        (1.0, "left", 0),
        (2.0, "right", 1),
        (6_000.0, "left", 3_999),
        (5_999.0, "right", 3_999),
    ]
    for target, side, place in cases:
        workspace = Workspace(len(row))
        np.add(row, 1.0, out=workspace.weights)
        sample = Sample.of(row, plus_one)
        cut = find_cut(row, workspace, plus_one, sample, target=target, total=6_000.0, side=side)
        assert cut == Cut(order[place], row[order[place]], place)


def plus_one(logits: Row, *, out: Row | None = None) -> Row:
    return np.add(logits, 1.0, out=out)


def test_what_is_lifted_is_written_over_and_summed() -> None:
    weights = np.arange(50_001, dtype=np.float32)
    expected = np.maximum(weights, np.float32(12_345))
    assert lift(weights, np.float32(12_345)) == pytest.approx(expected.sum(dtype=np.float64))
    assert weights.tolist() == expected.tolist()


def test_a_sample_from_a_logit_begins_with_it() -> None:
    row = flat_row(3, 10_000)
    weigher = partial(weigh, peak=float(row.max()), temperature=1.0)
    sample = Sample.of(row, weigher)
    for logit in (np.float32(0.5), sample.logits[40], row.max()):
        reaching = sample.logits[sample.logits >= logit].tolist()
        above = sample.from_logit(logit, weigher).logits.tolist()
        assert above == [logit, *reaching]
