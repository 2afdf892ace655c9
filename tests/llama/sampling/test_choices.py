"""Tokens are chosen of the same candidates, and as often, as by llama.cpp over the whole row."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import llama_cpp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from localserve.chat import Sampling
from localserve.llama.sampler import LlamaSampler
from localserve.llama.sampling.chain import CANDIDATE
from localserve.llama.sampling.choices import AnyToken, MinP
from localserve.llama.sampling.nucleus import BEST, SORTED, TopP
from localserve.llama.sampling.row import NoChoice, Row
from localserve.llama.sampling.sample import STRIDE
from localserve.llama.sampling.scan import Scan
from localserve.llama.sampling.uniform import Uniform
from localserve.llama.sampling.weights import Workspace
from tests.llama.sampling.rows import VOCABULARY, flat_row, peaked_row, row_of, rows

NEUTRAL = Sampling(temperature=1.0, top_p=1.0, top_k=0, min_p=0.0, typical_p=1.0)
EXACTLY = settings(deadline=None, derandomize=True, max_examples=60)
"""What two libraries round differently is decided once for all."""

ALMOST_1 = 1.0 - 2.0**-53


@contextmanager
def llama_chain(sampling: Sampling, *, draws: bool) -> Iterator[llama_cpp.llama_sampler_p]:
    """llama.cpp's own chain, in its own order; without the draw what is left are the candidates."""
    chain = llama_cpp.llama_sampler_chain_init(llama_cpp.llama_sampler_chain_default_params())
    for sampler in (
        llama_cpp.llama_sampler_init_top_k(sampling.top_k),
        llama_cpp.llama_sampler_init_typical(sampling.typical_p, 1),
        llama_cpp.llama_sampler_init_top_p(sampling.top_p, 1),
        llama_cpp.llama_sampler_init_min_p(sampling.min_p, 1),
        llama_cpp.llama_sampler_init_temp(sampling.temperature),
    ):
        llama_cpp.llama_sampler_chain_add(chain, sampler)
    if draws:
        dist = llama_cpp.llama_sampler_init_dist(sampling.seed)
        llama_cpp.llama_sampler_chain_add(chain, dist)
    yield chain
    llama_cpp.llama_sampler_free(chain)


def apply(chain: llama_cpp.llama_sampler_p, row: Row) -> tuple[np.ndarray, int]:
    """The candidates that are left, in llama.cpp's order, and which one it selected."""
    candidates = np.zeros(len(row), dtype=CANDIDATE)
    candidates["id"] = np.arange(len(row))
    candidates["logit"] = row
    array = llama_cpp.llama_token_data_array(
        data=candidates.ctypes.data_as(ctypes.POINTER(llama_cpp.llama_token_data)),
        size=len(candidates),
        selected=-1,
        sorted=False,
    )
    llama_cpp.llama_sampler_apply(chain, ctypes.byref(array))
    return candidates[: array.size], int(array.selected)


def candidates_of_llama_cpp(sampling: Sampling, row: Row) -> np.ndarray:
    with llama_chain(sampling, draws=False) as chain:
        return apply(chain, row)[0]


def scan_of(row: Row) -> Scan:
    scan = Scan(len(row), BEST, Workspace(len(row)))
    scan.read(row)
    return scan


class Dial:
    """A random number that is set by hand."""

    def __init__(self) -> None:
        self.value = 0.0

    def next(self) -> float:
        return self.value


def sampler_of(sampling: Sampling, size: int) -> LlamaSampler:
    workspace = Workspace(size)
    return LlamaSampler(sampling, history=(), top_logprobs=None, banned=(), workspace=workspace)


# Each token for its share of the random numbers


def middles(
    candidates: np.ndarray, row: Row, temperature: float, most: int = 40
) -> tuple[np.ndarray, np.ndarray]:
    """For some of the candidates, their places and the middle of their share of [0, 1)."""
    logits = row[candidates["id"]].astype(np.float64)
    weights = np.exp((logits - logits.max()) / temperature)
    after = weights.cumsum() / weights.sum()
    step = max(1, len(after) // most)
    places = np.arange(0, len(after), step)
    likely = places[weights[places] / weights.sum() > 2e-5]
    return likely, after[likely] - weights[likely] / weights.sum() / 2


@EXACTLY
@given(rows(), st.floats(0.05, 0.999), st.sampled_from([0.0, 0.01, 0.3]), st.floats(0.3, 3))
def test_top_p_has_the_candidates_of_llama_cpp_in_its_order(
    row: Row, top_p: float, min_p: float, temperature: float
) -> None:
    sampling = replace(NEUTRAL, top_p=top_p, min_p=min_p, temperature=temperature)
    theirs = candidates_of_llama_cpp(sampling, row)
    dial = Dial()
    choice = TopP(top_p, np.log(np.float32(min_p)) if min_p else -np.inf, temperature, dial)
    floor = row.max() + np.log(np.float32(min_p)) if min_p else -np.inf
    reaching = int((row >= floor).sum())
    share = np.exp(np.sort(row.astype(np.float64))[::-1] - row.max())
    share = share.cumsum() / share.sum()

    def length(top_p: float) -> int:
        return min(int(share.searchsorted(top_p)) + 1, reaching)

    # llama.cpp adds up in float32: near its end the nucleus may be a little longer or shorter.
    rounding = 1.2e-7 * len(row)
    assert length(top_p - rounding) <= len(theirs) <= length(top_p + rounding)
    dial.value = ALMOST_1
    last = row[choice.choose(scan_of(row))]
    before = int((row > last).sum())
    assert before < length(top_p + 1e-6)
    assert before + int((row == last).sum()) >= length(top_p - 1e-6)
    if length(top_p - rounding) == length(top_p + rounding):
        places, positions = middles(theirs, row, temperature)
        chosen = [choice.choose(scan_of(row)) for dial.value in positions.tolist()]
        assert row[chosen].tolist() == row[theirs["id"][places]].tolist()


@EXACTLY
@given(
    rows(),
    st.floats(0.05, 0.999),
    st.sampled_from([0.0, 0.01, 0.3]),
    st.sampled_from([0.5, 1.0, 2.0]),
    st.lists(st.floats(0, 1, exclude_max=True), min_size=1, max_size=20),
)
def test_what_the_best_columns_decide_is_what_the_whole_row_decides(
    row: Row, top_p: float, min_p: float, temperature: float, uniforms: list[float]
) -> None:
    floor = float(np.log(np.float32(min_p))) if min_p else -np.inf
    choice = TopP(top_p, floor, temperature, Dial())
    for uniform in uniforms:
        by_the_best = choice.from_the_best(scan_of(row), uniform)
        if by_the_best is not None:
            by_all = choice.from_all(scan_of(row), uniform)
            if by_all != by_the_best:  # two sums that are rounded otherwise, on an edge
                assert by_the_best in [
                    TopP(top_p + more, floor, temperature, Dial()).from_all(scan_of(row), by)
                    for more in (-1e-6, 1e-6)
                    for by in (uniform - 1e-6, uniform, uniform + 1e-6)
                ]


def test_the_best_columns_decide_where_a_model_is_sure_and_not_where_it_is_not() -> None:
    choice = TopP(0.9, -np.inf, 0.8, Dial())
    sure, unsure = scan_of(peaked_row(1, VOCABULARY, 2.5)), scan_of(flat_row(1, VOCABULARY))
    for uniform in np.linspace(0.01, 0.99, 50).tolist():
        assert choice.from_the_best(sure, uniform) is not None
        assert choice.from_the_best(unsure, uniform) is None


def misleading_row(size: int, sampled: float) -> Row:
    """The logits that a sample takes are not like the others."""
    row = flat_row(5, size, 3.0)
    row[::STRIDE] = sampled
    return row


def unsure_rows(size: int) -> list[object]:
    return [
        pytest.param(flat_row(3, size), id="flat"),
        pytest.param(flat_row(3, size, 3.0), id="spread"),
        pytest.param(np.round(flat_row(3, size, 2.0)), id="tied"),
        pytest.param(misleading_row(size, -2.0), id="sample too low"),
        pytest.param(misleading_row(size, 6.0), id="sample too high"),
        pytest.param(misleading_row(size, 14.0), id="sample far too high"),
    ]


def order_and_ends(row: Row, top_p: float, floor: float) -> tuple[np.ndarray, int, int]:
    """The ids, largest logit first, and the least and the most of them that the nucleus has, by how
    sums of float32 may be rounded."""
    order = np.argsort(-row, kind="stable")
    share = np.exp(row[order].astype(np.float64) - row.max()).cumsum()
    reaching = int((row >= row.max() + np.float32(floor)).sum())
    least, most = (
        min(int(share.searchsorted((top_p + by) * share[-1])) + 1, reaching) for by in (-1e-6, 1e-6)
    )
    return order, least, most


@pytest.mark.parametrize("row", unsure_rows(SORTED))
@pytest.mark.parametrize("top_p", [0.3, 0.95, 0.9999])
@pytest.mark.parametrize("floor", [-np.inf, -9.0, -4.0])
@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_rows_where_no_model_is_sure_are_sorted_if_they_are_small(
    row: Row, top_p: float, floor: float, temperature: float
) -> None:
    order, least, most = order_and_ends(row, top_p, floor)
    choice = TopP(top_p, floor, temperature, Dial())
    after = np.exp((row[order].astype(np.float64) - row.max()) / temperature).cumsum()
    for uniform in (0.0, 1e-5, 0.01, 0.3, 0.9, 1 - 1e-5, ALMOST_1):
        place = int((order == choice.from_all(scan_of(row), uniform)).nonzero()[0][0])
        assert place < most
        assert after[place] >= uniform * after[least - 1] * (1 - 1e-6)
        assert place == 0 or after[place - 1] <= uniform * after[most - 1] * (1 + 1e-6)


@pytest.mark.parametrize("row", unsure_rows(60_001))
@pytest.mark.parametrize("top_p", [0.3, 0.95, 0.9999])
@pytest.mark.parametrize("floor", [-np.inf, -9.0, -4.0])
@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_of_large_ones_what_is_likelier_comes_as_much_more_often(
    row: Row, top_p: float, floor: float, temperature: float
) -> None:
    """How likely all up to a drawn token are is spread evenly between 0 and 1."""
    order, least, most = order_and_ends(row, top_p, floor)
    choice = TopP(top_p, floor, temperature, Uniform(7))
    places = np.empty(len(order), dtype=np.int64)
    places[order] = np.arange(len(order))
    scan, draws = scan_of(row), 60
    scan.weights(1.0)
    drawn = places[[choice.choose(scan) for _ in range(draws)]]
    assert drawn.max() < most
    after = np.exp((row[order].astype(np.float64) - row.max()) / temperature).cumsum()
    # Anywhere in the token's own share, which may be large.
    inside = np.diff(after, prepend=0.0)[drawn] * np.random.default_rng(1).random(draws)
    shares = np.sort((after[drawn] - inside) / after[least - 1])
    steps = np.arange(draws + 1) / draws
    distance = max(np.abs(shares - steps[1:]).max(), np.abs(shares - steps[:-1]).max())
    # Kolmogorov's, of which one in 10,000 is larger; the seeds make it the same each time.
    assert distance < 2.23 / np.sqrt(draws)


class Queue:
    """Random numbers that are set by hand, one after the other."""

    def __init__(self, numbers: list[float]) -> None:
        self._numbers = numbers

    def next(self) -> float:
        return self._numbers.pop(0)


@pytest.mark.parametrize("top_p", [0.9, 0.95, 0.9999])
@pytest.mark.parametrize("temperature", [0.8, 1.0, 2.0])
@pytest.mark.parametrize("tied", [False, True])
def test_a_token_is_drawn_again_if_it_is_not_of_the_nucleus(
    top_p: float, temperature: float, tied: bool
) -> None:
    row = flat_row(4, VOCABULARY)
    row = np.round(row, 2) if tied else row
    order, least, most = order_and_ends(row, top_p, -np.inf)
    warm = np.exp((row.astype(np.float64) - row.max()) / temperature)
    after = warm.cumsum()

    def number_of(token: int) -> float:
        return float((after[token] - warm[token] / 2) / after[-1])

    inside = int(order[10])
    for place in (0, least // 2, least - 1, most, most + 40, VOCABULARY - 1):
        token = int(order[place])
        choice = TopP(top_p, -np.inf, temperature, Queue([number_of(inside)]))
        wanted = token if place < least else inside
        assert choice.from_all(scan_of(row), number_of(token)) == wanted


@pytest.mark.parametrize("size", [33, 1_000, 50_001, VOCABULARY])
@pytest.mark.parametrize("level", [-300.0, -3.7, 0.1, 33.3])
@pytest.mark.parametrize("top_p", [1e-300, 1e-12, 1e-5, 1 - 1e-12])
def test_equal_tokens_share_any_top_p(size: int, level: float, top_p: float) -> None:
    row = np.full(size, level, dtype=np.float32)
    choice = TopP(top_p, -np.inf, 1.0, Dial())
    chosen = [choice.from_all(scan_of(row), uniform) for uniform in (0.0, 0.5, ALMOST_1)]
    expected = (np.array([0.0, 0.5, ALMOST_1]) * max(1, top_p * size)).astype(int)
    assert chosen == pytest.approx(expected, abs=1 + size * 1e-6)


def test_the_best_columns_are_not_asked_where_the_whole_is_known() -> None:
    class Never(TopP):
        def from_the_best(self, scan: Scan, uniform: float) -> int | None:
            raise AssertionError

    scan = scan_of(peaked_row(1, 5_000))
    scan.weights(1.0)
    Never(0.9, -np.inf, 0.8, Uniform(1)).choose(scan)


@EXACTLY
@given(rows(), st.floats(0.001, 1), st.floats(0.3, 3))
def test_min_p_has_the_candidates_of_llama_cpp_in_its_order(
    row: Row, min_p: float, temperature: float
) -> None:
    theirs = candidates_of_llama_cpp(replace(NEUTRAL, min_p=min_p, temperature=temperature), row)
    dial = Dial()
    choice = MinP(float(np.log(np.float32(min_p))), temperature, dial)
    places, positions = middles(theirs, row, temperature)
    chosen = [choice.choose(scan_of(row)) for dial.value in positions.tolist()]
    assert chosen == theirs["id"][places].tolist()


@EXACTLY
@given(rows(), st.floats(0.3, 3))
def test_temperature_alone_has_every_token_in_the_order_of_the_vocabulary(
    row: Row, temperature: float
) -> None:
    theirs = candidates_of_llama_cpp(replace(NEUTRAL, temperature=temperature), row)
    dial = Dial()
    choice = AnyToken(temperature, dial)
    places, positions = middles(theirs, row, temperature)
    chosen = [choice.choose(scan_of(row)) for dial.value in positions.tolist()]
    assert chosen == theirs["id"][places].tolist()
    for dial.value in (0.0, ALMOST_1):
        assert row[choice.choose(scan_of(row))] > -np.inf


@EXACTLY
@given(rows(), st.integers(1, 300))
def test_top_k_hands_the_chain_all_of_its_candidates(row: Row, top_k: int) -> None:
    theirs = candidates_of_llama_cpp(replace(NEUTRAL, top_k=top_k), row)
    scan = Scan(len(row), top_k, Workspace(len(row)))
    scan.read(row)
    _, logits = scan.columns.reaching(scan.columns.threshold(top_k))
    possible = theirs["logit"][theirs["logit"] > -np.inf]
    assert np.sort(logits)[::-1][:top_k].tolist() == possible.tolist()


# The same tokens by the same seed


@EXACTLY
@given(
    st.sampled_from(["flat", "peaked", "mostly impossible", "far from zero"]),
    st.sampled_from([32, 700, 5_000]),
    st.sampled_from([0, 2, 40, 300, 10_000]),
    st.sampled_from([1.0, 0.95, 0.5]),
    st.sampled_from([0.0, 0.05]),
    st.sampled_from([0.3, 1.0, 2.0]),
    st.integers(0, 0xFFFF_FFFE),
)
def test_a_seed_gives_the_tokens_of_llama_cpp(
    kind: str,
    size: int,
    top_k: int,
    top_p: float,
    min_p: float,
    temperature: float,
    seed: int,
) -> None:
    sampling = Sampling(
        temperature=temperature, top_p=top_p, top_k=top_k, min_p=min_p, typical_p=1.0, seed=seed
    )
    ordered = replace(sampling, top_k=top_k if top_k < size else 0)  # it would only sort them
    sampler = sampler_of(sampling, size)
    same = 0
    with llama_chain(ordered, draws=True) as chain:
        for number in range(10):
            row = row_of(kind, seed % 1_000 + number, size)
            candidates, selected = apply(chain, row)
            same += sampler.sample(row).token == candidates[selected]["id"]
    sampler.close()
    assert same >= 9  # a sum that is rounded otherwise may decide a draw of thousands


@pytest.mark.parametrize(
    ("kind", "sampling"),
    [
        ("flat", replace(NEUTRAL, seed=3)),
        ("peaked", replace(NEUTRAL, seed=3, temperature=0.7)),
        ("peaked", replace(NEUTRAL, seed=3, top_p=0.9)),
        ("peaked", replace(NEUTRAL, seed=3, top_p=0.9, temperature=1.5)),
        ("flat", replace(NEUTRAL, seed=3, min_p=0.05)),
        ("flat", replace(NEUTRAL, seed=3, top_k=40, top_p=0.95, temperature=0.8)),
    ],
)
def test_a_seed_gives_the_tokens_of_llama_cpp_in_a_whole_vocabulary(
    kind: str, sampling: Sampling
) -> None:
    """But for the few where its sums of 150,000 weights, in float32, decide otherwise."""
    sampler = sampler_of(sampling, VOCABULARY)
    same = 0
    with llama_chain(sampling, draws=True) as chain:
        for number in range(20):
            row = row_of(kind, number, VOCABULARY)
            candidates, selected = apply(chain, row)
            same += sampler.sample(row).token == candidates[selected]["id"]
    sampler.close()
    assert same >= 19


@pytest.mark.parametrize("top_k", [0, 30])
def test_typical_is_llama_cpps_own(top_k: int) -> None:
    sampling = replace(NEUTRAL, typical_p=0.6, top_k=top_k, seed=9)
    sampler = sampler_of(sampling, 3_000)
    with llama_chain(sampling, draws=True) as chain:
        for number in range(20):
            row = flat_row(number, 3_000, 2.0)
            candidates, selected = apply(chain, row)
            assert sampler.sample(row).token == candidates[selected]["id"]
    sampler.close()


def test_typical_is_not_confused_by_tokens_without_a_probability() -> None:
    """To llama.cpp their entropy is no number, and then everything is typical."""
    row = np.full(1_000, -np.inf, dtype=np.float32)
    row[:4] = np.log([0.6, 0.2, 0.15, 0.05])
    sampler = sampler_of(replace(NEUTRAL, typical_p=0.5, seed=1), 1_000)
    # Their entropy is 1.06 nats: 0.2 (1.61) and 0.6 (0.51) are nearest.
    assert {sampler.sample(row.copy()).token for _ in range(200)} == {0, 1}
    sampler.close()


# As often as they are likely


def expected_shares(sampling: Sampling, row: Row) -> np.ndarray:
    """By the definitions, in float64."""
    shares = np.exp(row.astype(np.float64) - row.max())
    kept = np.ones(len(row), dtype=bool)
    order = np.argsort(-row, kind="stable")
    if sampling.top_k:
        kept[order[sampling.top_k :]] = False
    shares = np.where(kept, shares, 0) / shares[kept].sum()
    if sampling.top_p is not None and sampling.top_p < 1:
        last = int(shares[order].cumsum().searchsorted(sampling.top_p))
        kept[order[last + 1 :]] = False
    if sampling.min_p:
        kept &= shares >= sampling.min_p * shares.max()
    warm = np.where(kept, np.exp((row.astype(np.float64) - row.max()) / sampling.temperature), 0)
    return warm / warm.sum()


@pytest.mark.parametrize(
    "sampling",
    [
        NEUTRAL,
        replace(NEUTRAL, temperature=0.6),
        replace(NEUTRAL, temperature=2.0),
        replace(NEUTRAL, top_p=0.8),
        replace(NEUTRAL, top_p=0.8, temperature=1.7),
        replace(NEUTRAL, top_p=0.9, min_p=0.1),
        replace(NEUTRAL, min_p=0.05),
        replace(NEUTRAL, top_k=12),
        replace(NEUTRAL, top_k=20, top_p=0.9, min_p=0.02, temperature=1.3),
    ],
    ids=str,
)
def test_tokens_are_drawn_as_often_as_they_are_likely(sampling: Sampling) -> None:
    row = flat_row(3, 64, 1.5)
    draws = 6_000
    sampler = sampler_of(replace(sampling, seed=42), len(row))
    counts = np.zeros(len(row))
    for _ in range(draws):
        counts[sampler.sample(row).token] += 1
    sampler.close()
    expected = expected_shares(sampling, row) * draws
    assert (counts[expected == 0] == 0).all()
    counts, expected = counts[expected > 0], expected[expected > 0]
    chi_square = ((counts - expected) ** 2 / expected).sum()
    freedom = len(counts) - 1
    # Three standard deviations; the seed makes it the same each time.
    assert chi_square < freedom + 3 * np.sqrt(2 * freedom)


@pytest.mark.parametrize("sampling", [NEUTRAL, replace(NEUTRAL, top_p=0.9)], ids=["any", "top_p"])
def test_blocks_of_a_whole_vocabulary_are_drawn_as_often_as_they_are_likely(
    sampling: Sampling,
) -> None:
    row = peaked_row(5, VOCABULARY, 1.2)
    draws = 800
    sampler = sampler_of(replace(sampling, seed=2), len(row))
    chosen = np.array([sampler.sample(row).token for _ in range(draws)])
    shares = expected_shares(sampling, row)
    assert (shares[chosen] > 0).all()
    tenths = np.minimum((shares.cumsum() * 10).astype(int), 9)
    expected = np.bincount(tenths, weights=shares, minlength=10) * draws
    counts = np.bincount(tenths[chosen], minlength=10)
    assert (expected > 0).sum() > 5
    counts, expected = counts[expected > 0], expected[expected > 0]
    assert ((counts - expected) ** 2 / expected).sum() < 9 + 3 * np.sqrt(18)


@pytest.mark.parametrize(
    ("off", "like"),
    [
        (replace(NEUTRAL, min_p=1e-300), NEUTRAL),
        (replace(NEUTRAL, top_p=1 - 1e-12), NEUTRAL),
        (replace(NEUTRAL, top_k=64), NEUTRAL),
        (replace(NEUTRAL, top_p=1e-300), replace(NEUTRAL, temperature=0.0)),
        (replace(NEUTRAL, min_p=1.0), replace(NEUTRAL, temperature=0.0)),
        (replace(NEUTRAL, top_p=0.9, min_p=1.0), replace(NEUTRAL, temperature=0.0)),
        (replace(NEUTRAL, top_k=1), replace(NEUTRAL, temperature=0.0)),
    ],
    ids=str,
)
def test_the_ends_of_the_scales_are_off_or_greedy(off: Sampling, like: Sampling) -> None:
    one, other = (sampler_of(replace(sampling, seed=6), 64) for sampling in (off, like))
    for seed in range(50):
        row = flat_row(seed, 64)
        assert one.sample(row.copy()).token == other.sample(row.copy()).token


# What is no distribution


SAMPLINGS = (
    replace(NEUTRAL, temperature=0.0),
    NEUTRAL,
    replace(NEUTRAL, top_p=0.9),
    replace(NEUTRAL, min_p=0.1),
    replace(NEUTRAL, top_k=40),
    replace(NEUTRAL, typical_p=0.5),
)


@pytest.mark.parametrize("sampling", SAMPLINGS, ids=str)
@pytest.mark.parametrize("top_logprobs", [None, 3])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_row_with_what_is_no_number_is_refused(
    sampling: Sampling, top_logprobs: int | None, value: float
) -> None:
    workspace = Workspace(1_000)
    sampler = LlamaSampler(
        sampling, history=(), top_logprobs=top_logprobs, banned=(), workspace=workspace
    )
    row = flat_row(1, 1_000)
    row[700] = value
    with pytest.raises(NoChoice):
        sampler.sample(row)
    assert sampler.sample(flat_row(1, 1_000)).token >= 0  # it goes on
    sampler.close()


@pytest.mark.parametrize("sampling", SAMPLINGS, ids=str)
def test_the_only_possible_token_is_chosen(sampling: Sampling) -> None:
    sampler = sampler_of(sampling, 1_000)
    row = np.full(1_000, -np.inf, dtype=np.float32)
    row[77] = -1e30
    assert sampler.sample(row).token == 77
    sampler.close()


@pytest.mark.parametrize("sampling", SAMPLINGS, ids=str)
@pytest.mark.parametrize("temperature", [1e-6, 1e-3, 5.0])
@pytest.mark.parametrize("peak", [-500.0, -0.5, 80.0, 1e6])
def test_the_lowest_logits_overflow_nowhere(
    sampling: Sampling, temperature: float, peak: float
) -> None:
    """Some models mask tokens with the lowest float."""
    row = np.full(1_000, np.finfo(np.float32).min, dtype=np.float32)
    row[[5, 900]] = peak
    if sampling.temperature:
        sampling = replace(sampling, temperature=temperature, seed=3)
    workspace = Workspace(1_000)
    for top_logprobs in (None, 2):
        sampler = LlamaSampler(
            sampling, history=(), top_logprobs=top_logprobs, banned=(), workspace=workspace
        )
        sampled = sampler.sample(row.copy())
        assert sampled.token in (5, 900)
        assert [one.token for one in sampled.top] == [5, 900][: top_logprobs or 0]
        sampler.close()


@pytest.mark.parametrize("sampling", SAMPLINGS, ids=str)
@pytest.mark.parametrize("size", [1, 2, 32])
def test_the_smallest_vocabularies_can_be_chosen_from(sampling: Sampling, size: int) -> None:
    sampler = sampler_of(sampling, size)
    assert 0 <= sampler.sample(flat_row(1, size)).token < size
    sampler.close()


@pytest.mark.parametrize("by", [-np.inf, -1e30, 1e30])
@pytest.mark.parametrize("sampling", SAMPLINGS, ids=str)
def test_a_bias_lifts_over_any_threshold_and_sinks_below_it(sampling: Sampling, by: float) -> None:
    row = peaked_row(1, 5_000)
    best, worst = int(row.argmax()), int(row.argmin())
    biased = replace(sampling, logit_bias=((worst, by) if by > 0 else (best, by),), seed=1)
    sampler = sampler_of(biased, 5_000)
    chosen = {sampler.sample(row.copy()).token for _ in range(30)}
    assert chosen == {worst} if by > 0 else best not in chosen
    sampler.close()
