from __future__ import annotations

import ctypes
from dataclasses import replace

import llama_cpp
import numpy as np
import pytest

from localserve.chat import DEFAULT_SAMPLING, Sampling
from localserve.llama.sampler import LlamaSampler
from localserve.llama.sampling.chain import CANDIDATE
from localserve.llama.sampling.row import Row
from localserve.llama.sampling.weights import Workspace

VOCABULARY = 5_000
GREEDY = replace(DEFAULT_SAMPLING, temperature=0.0)


def random_row(seed: int, size: int = VOCABULARY) -> Row:
    return (np.random.default_rng(seed).standard_normal(size) * 3).astype(np.float32)


def sampler_of(
    sampling: Sampling,
    *,
    history: tuple[int, ...] = (),
    top_logprobs: int | None = None,
    banned: tuple[int, ...] = (),
    size: int = VOCABULARY,
) -> LlamaSampler:
    return LlamaSampler(
        sampling,
        history=history,
        top_logprobs=top_logprobs,
        banned=banned,
        workspace=Workspace(size),
    )


def candidates_of(row: Row) -> tuple[np.ndarray, llama_cpp.llama_token_data_array]:
    candidates = np.zeros(len(row), dtype=CANDIDATE)
    candidates["id"] = np.arange(len(row))
    candidates["logit"] = row
    array = llama_cpp.llama_token_data_array(
        data=candidates.ctypes.data_as(ctypes.POINTER(llama_cpp.llama_token_data)),
        size=len(candidates),
        selected=-1,
        sorted=False,
    )
    return candidates, array


def test_equal_seeds_choose_equally_and_others_do_not() -> None:
    def tokens(seed: int | None) -> list[int]:
        sampler = sampler_of(replace(DEFAULT_SAMPLING, temperature=3.0, seed=seed))
        return [sampler.sample(random_row(number)).token for number in range(30)]

    assert tokens(5) == tokens(5)
    assert tokens(5) != tokens(6)
    assert tokens(None) != tokens(None)


@pytest.mark.parametrize("top_k", [0, 40])
@pytest.mark.parametrize("temperature", [0.0, 1e-45, 1e-38, 1e-30, 1e-4])
def test_the_smallest_temperatures_are_greedy(temperature: float, top_k: int) -> None:
    sampling = replace(DEFAULT_SAMPLING, temperature=temperature, top_k=top_k, seed=1)
    sampler = sampler_of(sampling)
    for seed in range(5):
        row = random_row(seed) - 30
        assert sampler.sample(row.copy()).token == row.argmax()


# Penalties and biases


@pytest.mark.parametrize("last", [0, 5, 64, 300])
def test_penalties_are_those_of_llama_cpp(last: int) -> None:
    history = tuple(np.random.default_rng(3).integers(0, 40, size=150).tolist())
    sampling = replace(
        GREEDY,
        repeat_penalty=1.3,
        frequency_penalty=0.7,
        presence_penalty=-0.4,
        repeat_last_n=last,
    )
    ours = sampler_of(sampling, history=history, size=50)
    theirs = llama_cpp.llama_sampler_init_penalties(50, last, 1.3, 0.7, -0.4)
    for token in history:
        llama_cpp.llama_sampler_accept(theirs, token)
    for seed in range(20):
        row = random_row(seed, 50)
        candidates, array = candidates_of(row)
        llama_cpp.llama_sampler_apply(theirs, ctypes.byref(array))
        chosen = ours.sample(row)
        np.testing.assert_allclose(row, candidates["logit"], rtol=1e-5, atol=1e-6)
        llama_cpp.llama_sampler_accept(theirs, chosen.token)
    llama_cpp.llama_sampler_free(theirs)


def test_a_bias_raises_and_lowers_tokens() -> None:
    row = random_row(1)
    best = int(row.argmax())
    assert sampler_of(replace(GREEDY, logit_bias=((7, 100.0),))).sample(row.copy()).token == 7
    lowered = sampler_of(replace(GREEDY, logit_bias=((best, -100.0),))).sample(row.copy())
    assert lowered.token == int(np.argsort(row)[-2])


def test_banned_tokens_are_never_chosen_whatever_their_bias() -> None:
    row = random_row(1)
    best = int(row.argmax())
    sampler = sampler_of(replace(GREEDY, logit_bias=((best, 100.0),)), banned=(best,))
    assert sampler.sample(row).token != best


# Log probabilities


@pytest.mark.parametrize("penalty", [1.0, 1.4])
@pytest.mark.parametrize(
    "sampling",
    [
        GREEDY,
        DEFAULT_SAMPLING,
        replace(DEFAULT_SAMPLING, top_k=0, top_p=0.9),
        replace(DEFAULT_SAMPLING, top_k=0, top_p=1.0, min_p=0.0),
        replace(DEFAULT_SAMPLING, typical_p=0.5),
    ],
    ids=["greedy", "default", "top_p", "any", "typical"],
)
def test_log_probabilities_are_the_softmax_whatever_the_choice(
    sampling: Sampling, penalty: float
) -> None:
    seeded = replace(sampling, seed=4, repeat_penalty=penalty)
    scored = sampler_of(seeded, history=(1, 2, 3), top_logprobs=5)
    plain = sampler_of(seeded, history=(1, 2, 3))
    for seed in range(10):
        row = random_row(seed)
        exact = row - np.logaddexp.reduce(row.astype(np.float64))
        best = np.argsort(-row, kind="stable")[:5]
        sampled = scored.sample(row.copy())
        assert sampled.token == plain.sample(row.copy()).token
        assert [one.token for one in sampled.top] == best.tolist()
        assert [one.logprob for one in sampled.top] == pytest.approx(exact[best].tolist())
        assert sampled.score is not None
        assert sampled.score.token == sampled.token
        assert sampled.score.logprob == pytest.approx(exact[sampled.token])


def test_log_probabilities_sum_to_1_and_are_sorted() -> None:
    row = random_row(1, 300)
    sampled = sampler_of(GREEDY, top_logprobs=300, size=300).sample(row.copy())
    logprobs = [one.logprob for one in sampled.top]
    assert np.exp(logprobs).sum() == pytest.approx(1.0, abs=1e-5)
    assert logprobs == sorted(logprobs, reverse=True)
    assert sampled.score == sampled.top[0]


def test_log_probabilities_are_those_before_penalties_and_biases() -> None:
    row = random_row(1)
    best = int(row.argmax())
    biased = replace(GREEDY, logit_bias=((7, 100.0), (best, -100.0)), repeat_penalty=2.0)
    sampled = sampler_of(biased, history=(best,), top_logprobs=1).sample(row.copy())
    plain = sampler_of(GREEDY, top_logprobs=1).sample(row.copy())
    assert sampled.token == 7
    assert sampled.top == plain.top
    assert sampled.score is not None
    assert plain.score is not None
    assert sampled.score.logprob == pytest.approx(plain.score.logprob + row[7] - row[best])


def test_no_log_probabilities_where_none_were_asked_for() -> None:
    sampled = sampler_of(GREEDY).sample(random_row(1))
    assert (sampled.score, sampled.top) == (None, ())


@pytest.mark.parametrize("sampling", [GREEDY, DEFAULT_SAMPLING])
def test_who_steers_has_the_last_word_and_is_believed(sampling: Sampling) -> None:
    chosen: list[int] = []

    def steer(token: int) -> int:
        chosen.append(token)
        return 7

    row = random_row(1)
    repeated = replace(sampling, presence_penalty=5.0)
    sampler = LlamaSampler(
        repeated,
        history=(),
        top_logprobs=1,
        banned=(),
        workspace=Workspace(VOCABULARY),
        steer=steer,
    )
    sampled = sampler.sample(row.copy())
    assert (sampled.token, len(chosen)) == (7, 1)
    assert sampled.score is not None
    assert sampled.score.token == 7
    row[7] = row.max() + 4.0  # the best, but for the penalty of having been written
    sampler.sample(row.copy())
    assert chosen[1] != 7
    sampler.close()


def test_closing_twice_is_harmless() -> None:
    sampler = sampler_of(DEFAULT_SAMPLING)
    sampler.close()
    sampler.close()
