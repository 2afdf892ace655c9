"""How the middle between two texts is written: what is likely, or nothing."""

from __future__ import annotations

import ctypes
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import llama_cpp
import numpy as np
import pytest

from localserve.chat import Sampling
from localserve.llama.model import LlamaModel
from localserve.llama.sampling.chain import CANDIDATE
from localserve.llama.sampling.choices import choice_of
from localserve.llama.sampling.scan import Scan
from localserve.llama.sampling.sure import SureOnly, Words
from localserve.llama.sampling.uniform import Uniform
from localserve.llama.sampling.weights import Workspace
from localserve.planner.runtime import Runtime

PIECES = dict(enumerate([b"a", b"ab", b"c", b"d", b"e", b"f", b"g", b"h", b"i", b""]))
END = 9
SIZE = len(PIECES)
WORDS = Words(PIECES.__getitem__, lambda token: token == END, END)


def draws(
    shares: list[float],
    *,
    end: float = 0.0,
    words: Words = WORDS,
    top_p: float = 1.0,
    temperature: float = 1.0,
) -> Counter[int]:
    """How often which token is chosen where the probabilities are these."""
    padded = np.zeros(SIZE, dtype=np.float32)
    padded[: len(shares)] = shares
    padded[END] = end
    with np.errstate(divide="ignore"):
        row = np.log(padded)
    choice = SureOnly(words, Uniform(7), top_k=0, top_p=top_p, min_p=0.0, temperature=temperature)
    scan = Scan(SIZE, choice.largest, Workspace(SIZE))
    chosen: Counter[int] = Counter()
    for _ in range(200):
        scan.read(row)
        chosen[choice.choose(scan)] += 1
    choice.close()
    return chosen


def test_what_is_sure_is_always_chosen() -> None:
    assert draws([0.9, 0, 0.04, 0.03, 0.03]) == {0: 200}


def test_two_that_are_likely_share_the_draws() -> None:
    assert set(draws([0.5, 0, 0.45, 0.05])) == {0, 2}


def test_an_answer_ends_where_the_model_would_rather_end() -> None:
    assert draws([0.5, 0, 0.25], end=0.25) == {END: 200}


def test_an_answer_ends_where_nothing_is_likely() -> None:
    assert draws([0.15, 0, *[0.12] * 7]) == {END: 200}


def test_what_begins_alike_counts_together() -> None:
    assert draws([0.15, 0.14, *[0.1] * 7]) == {0: 200}
    assert draws([0.14, 0.15, *[0.1] * 7]) == {1: 200}


def test_an_answer_that_may_not_end_goes_on_with_the_likeliest() -> None:
    forever = Words(PIECES.__getitem__, lambda token: token == END, None)
    assert draws([0.15, 0, *[0.12] * 7], words=forever) == {0: 200}


def test_a_share_of_the_probability_bounds_the_candidates() -> None:
    assert draws([0.6, 0, 0.4], top_p=0.5) == {0: 200}


@pytest.mark.parametrize("temperature", [0.0, 1e-6, 1e-4, 5e-4, 0.01])
def test_the_colder_it_is_the_surer_is_the_likeliest(temperature: float) -> None:
    assert draws([0.6, 0, 0.39], end=1e-9, temperature=temperature) == {0: 200}


@pytest.fixture(scope="module")
def model(tiny_f16: Path) -> Iterator[LlamaModel]:
    one = LlamaModel(tiny_f16, Runtime(0, 1))
    yield one
    one.close()


@pytest.mark.parametrize("seed", range(12))
def test_llama_cpp_keeps_the_same_tokens(model: LlamaModel, seed: int) -> None:
    """Of random rows over a real vocabulary."""
    size = model.vocabulary.size
    row = (np.random.default_rng(seed).normal(size=size) * 3).astype(np.float32)
    row[: 1 + seed % 5] += 9.0
    kept = _kept_by_llama_cpp(model, row)
    words = Words(model.vocabulary.piece, model.vocabulary.is_end, model.vocabulary.turn_end)
    choice = SureOnly(words, Uniform(seed), top_k=40, top_p=0.99, min_p=0.0, temperature=1.0)
    scan = Scan(size, choice.largest, Workspace(size))
    chosen = set()
    for _ in range(60):
        scan.read(row)
        chosen.add(choice.choose(scan))
    assert chosen <= kept


def _kept_by_llama_cpp(model: LlamaModel, row: np.ndarray) -> set[int]:
    chain = llama_cpp.llama_sampler_chain_init(llama_cpp.llama_sampler_chain_default_params())
    assert chain is not None
    vocab = llama_cpp.llama_model_get_vocab(model.handle)
    for sampler in (
        llama_cpp.llama_sampler_init_top_k(40),
        llama_cpp.llama_sampler_init_top_p(0.99, 1),
        llama_cpp.llama_sampler_init_infill(vocab),
    ):
        llama_cpp.llama_sampler_chain_add(chain, sampler)
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
    llama_cpp.llama_sampler_free(chain)
    return set(map(int, candidates["id"][: array.size]))


def test_the_settings_ask_for_it() -> None:
    asked = Sampling(temperature=1.0, top_k=40, top_p=0.9, min_p=0.0, sure_only=True)
    assert isinstance(choice_of(asked, SIZE, WORDS), SureOnly)
    assert not isinstance(choice_of(replace(asked, sure_only=False), SIZE, WORDS), SureOnly)
    assert isinstance(choice_of(replace(asked, temperature=0.0), SIZE, WORDS), SureOnly)
    assert choice_of(replace(asked, temperature=0.0, sure_only=False), SIZE, WORDS) is None
