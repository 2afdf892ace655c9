"""Sampling within a constraint: what is refused is drawn again, and only then is a row masked."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from localserve.chat import DEFAULT_SAMPLING, Sampling
from localserve.engine.constraint import ConstraintFailed
from localserve.llama.sampler import LlamaSampler
from localserve.llama.sampling.row import Row
from localserve.llama.sampling.weights import Workspace

SIZE = 64
DRAWS = 12_000
GREEDY = replace(DEFAULT_SAMPLING, temperature=0.0)
PLAIN = replace(
    DEFAULT_SAMPLING, temperature=1.0, top_k=0, top_p=1.0, min_p=0.0, typical_p=1.0, seed=3
)


class Allowed:
    """Always the same tokens; counts how often the row was restricted."""

    def __init__(self, *tokens: int) -> None:
        self.tokens = tokens
        self.taken: list[int] = []
        self.restricted = 0
        self.complete = False

    def allows(self, token: int) -> bool:
        return token in self.tokens

    def restrict(self, row: Row) -> None:
        self.restricted += 1
        kept = row[list(self.tokens)]
        row.fill(-np.inf)
        row[list(self.tokens)] = kept

    def accept(self, token: int) -> None:
        self.taken.append(token)


def logits() -> Row:
    return np.random.default_rng(5).standard_normal(SIZE).astype(np.float32) * 2


def sampler_of(sampling: Sampling, constraint: Allowed, **options: object) -> LlamaSampler:
    fields = {"history": (), "top_logprobs": None, "banned": (), **options}
    return LlamaSampler(
        sampling,
        workspace=Workspace(SIZE),
        constraint=constraint,
        **fields,  # type: ignore[arg-type]
    )


def frequencies(sampling: Sampling, allowed: tuple[int, ...]) -> dict[int, float]:
    sampler = sampler_of(sampling, Allowed(*allowed))
    counts = Counter(sampler.sample(logits()).token for _ in range(DRAWS))
    sampler.close()
    return {token: counts[token] / DRAWS for token in range(SIZE)}


def assert_alike(found: dict[int, float], wanted: dict[int, float]) -> None:
    """Each frequency within five standard deviations of its probability."""
    for token in range(SIZE):
        p = wanted.get(token, 0.0)
        assert abs(found[token] - p) <= 5 * (p * (1 - p) / DRAWS) ** 0.5, token


def softmax(row: Row, allowed: tuple[int, ...]) -> dict[int, float]:
    weights = np.exp(row[list(allowed)].astype(np.float64))
    return dict(zip(allowed, (weights / weights.sum()).tolist(), strict=True))


@pytest.mark.parametrize("allowed", [(1, 2, 3), (7, 40), tuple(range(0, SIZE, 2))])
def test_temperature_alone_draws_as_from_the_restricted_row(allowed: tuple[int, ...]) -> None:
    assert_alike(frequencies(PLAIN, allowed), softmax(logits(), allowed))


def test_a_filter_cuts_what_is_allowed_and_draws_nothing_else() -> None:
    """First from the best of all, then from the best of what is allowed: as the docstring says."""
    best = np.argsort(-logits())
    allowed = tuple(int(token) for token in best[[0, 5, 6, 7, 30]])
    found = frequencies(replace(PLAIN, top_k=2), allowed)
    first = softmax(logits(), (int(best[0]), int(best[1])))[allowed[0]]
    again = softmax(logits(), allowed[:2])
    wanted = {
        allowed[0]: first + (1 - first) * again[allowed[0]],
        allowed[1]: (1 - first) * again[allowed[1]],
    }
    assert_alike(found, wanted)


@pytest.mark.parametrize(
    "sampling",
    [
        GREEDY,
        PLAIN,
        replace(PLAIN, top_p=0.5),
        replace(PLAIN, min_p=0.2),
        replace(PLAIN, top_k=3),
        replace(PLAIN, typical_p=0.5),
        DEFAULT_SAMPLING,
    ],
    ids=["greedy", "temperature", "top-p", "min-p", "top-k", "typical", "default"],
)
def test_nothing_but_what_is_allowed_is_drawn(sampling: Sampling) -> None:
    worst = tuple(np.argsort(logits())[:3].tolist())
    constraint = Allowed(*worst)
    sampler = sampler_of(sampling, constraint)
    drawn = [sampler.sample(logits()).token for _ in range(100)]
    sampler.close()
    assert set(drawn) <= set(worst)
    assert constraint.taken == drawn


def test_the_best_of_what_is_allowed_is_chosen_greedily() -> None:
    row = logits()
    sampler = sampler_of(GREEDY, Allowed(3, 9, 27))
    assert sampler.sample(row.copy()).token == max((3, 9, 27), key=lambda token: row[token])


def test_nothing_is_restricted_where_the_drawn_token_is_allowed() -> None:
    constraint = Allowed(*range(SIZE))
    sampler = sampler_of(PLAIN, constraint)
    free = LlamaSampler(PLAIN, history=(), top_logprobs=None, banned=(), workspace=Workspace(SIZE))
    drawn = [sampler.sample(logits()).token for _ in range(50)]
    assert drawn == [free.sample(logits()).token for _ in range(50)]
    assert constraint.restricted == 0


def test_log_probabilities_are_those_of_the_whole_row() -> None:
    row = logits()
    sampler = sampler_of(GREEDY, Allowed(3), top_logprobs=2)
    sampled = sampler.sample(row.copy())
    weights = row.astype(np.float64) - np.log(np.exp(row.astype(np.float64)).sum())
    assert sampled.score is not None
    assert sampled.score.logprob == pytest.approx(weights[3], abs=1e-4)
    assert [one.token for one in sampled.top] == np.argsort(-row)[:2].tolist()


def test_a_steered_token_is_the_one_that_the_constraint_hears_of() -> None:
    constraint = Allowed(1, 2)
    sampler = sampler_of(GREEDY, constraint, steer=lambda token: 2)
    assert sampler.sample(logits()).token == 2
    assert constraint.taken == [2]


def test_the_steering_hears_of_the_token_that_was_allowed() -> None:
    heard: list[int] = []

    def steer(token: int) -> int:
        heard.append(token)
        return token

    sampler = sampler_of(GREEDY, Allowed(5), steer=steer)
    sampler.sample(logits())
    assert heard == [5]


def test_the_last_token_says_that_the_answer_is_complete() -> None:
    constraint = Allowed(1)
    sampler = sampler_of(GREEDY, constraint)
    assert not sampler.sample(logits()).complete
    constraint.complete = True
    assert sampler.sample(logits()).complete


@pytest.mark.parametrize("sampling", [GREEDY, DEFAULT_SAMPLING])
def test_it_fails_where_all_that_is_allowed_is_banned(sampling: Sampling) -> None:
    sampler = sampler_of(sampling, Allowed(4, 5), banned=(4, 5))
    with pytest.raises(ConstraintFailed, match="above 0"):
        sampler.sample(logits())
