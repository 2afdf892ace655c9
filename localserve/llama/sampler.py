"""Chooses the next token of one sequence by llama.cpp's samplers. Engine thread only.

llama.cpp's chain over a whole vocabulary of 150,000 costs up to tens of milliseconds a token.
Greedy needs no chain at all, and with a top-k the chain needs the k best candidates only: they are
selected exactly before it. Penalties and biases touch a few tokens and are applied to the row.
"""

from __future__ import annotations

import ctypes
import secrets
from collections import Counter, deque
from collections.abc import Sequence

import llama_cpp
import numpy as np
import numpy.typing as npt

from localserve.chat import Sampling
from localserve.engine.runner import Sampled, Steer, TokenScore

Row = npt.NDArray[np.float32]
"""Logits of one position, shape (vocabulary,)."""

CANDIDATE = np.dtype([("id", np.int32), ("logit", np.float32), ("p", np.float32)])
"""llama_token_data."""

BLOCK = 64
"""Candidates are preselected by the maxima of blocks of so many logits."""

SMALLEST_TEMPERATURE = 1e-6
"""Below it answers are greedy: logits divided by so little would overflow."""


class LlamaSampler:
    """Implements `engine.runner.Sampler`; keeps its random state and recent tokens."""

    def __init__(
        self,
        sampling: Sampling,
        *,
        history: Sequence[int],
        top_logprobs: int | None,
        banned: Sequence[int],
        steer: Steer | None = None,
    ) -> None:
        self._steer = steer
        self._top_logprobs = top_logprobs
        self._penalties = _Penalties(sampling, history)
        bias = dict(sampling.logit_bias or ())
        bias.update((token, -np.inf) for token in banned)
        self._biased = np.fromiter(bias.keys(), dtype=np.int64, count=len(bias))
        self._bias = np.fromiter(bias.values(), dtype=np.float32, count=len(bias))
        cold = (sampling.temperature or 0.0) < SMALLEST_TEMPERATURE
        self._greedy = cold or sampling.top_k == 1
        self._top_k = max(0, sampling.top_k or 0)
        self._chain = None if self._greedy else _make_chain(sampling)

    def sample(self, row: Row) -> Sampled:
        """The next token. Writes to `row`."""
        score: TokenScore | None = None
        top: tuple[TokenScore, ...] = ()
        before = row.copy() if self._top_logprobs is not None else None
        self._penalties.apply(row)
        if len(self._biased):
            row[self._biased] += self._bias
        token = int(row.argmax()) if self._chain is None else self._draw(row, self._chain)
        if self._steer is not None:
            token = self._steer(token)
        self._penalties.accept(token)
        if before is not None:
            score, top = _scores(before, token, self._top_logprobs or 0)
        return Sampled(token, score, top)

    def _draw(self, row: Row, chain: llama_cpp.llama_sampler_p) -> int:
        if 0 < self._top_k < len(row):
            ids = largest(row, self._top_k)
            candidates = np.empty(len(ids), dtype=CANDIDATE)
            candidates["id"] = ids
            candidates["logit"] = row[ids]
        else:
            candidates = np.empty(len(row), dtype=CANDIDATE)
            candidates["id"] = np.arange(len(row))
            candidates["logit"] = row
        array = llama_cpp.llama_token_data_array(
            data=candidates.ctypes.data_as(ctypes.POINTER(llama_cpp.llama_token_data)),
            size=len(candidates),
            selected=-1,
            sorted=False,
        )
        llama_cpp.llama_sampler_apply(chain, ctypes.byref(array))
        return int(array.data[array.selected].id)

    def close(self) -> None:
        if self._chain is not None:
            llama_cpp.llama_sampler_free(self._chain)
            self._chain = None
            self._greedy = True


def _make_chain(sampling: Sampling) -> llama_cpp.llama_sampler_p:
    """Filters in llama.cpp's own order, then the draw."""
    chain = llama_cpp.llama_sampler_chain_init(llama_cpp.llama_sampler_chain_default_params())
    assert chain is not None
    keep = 1
    if sampling.top_k:
        llama_cpp.llama_sampler_chain_add(chain, llama_cpp.llama_sampler_init_top_k(sampling.top_k))
    if sampling.typical_p is not None and sampling.typical_p < 1.0:
        typical = llama_cpp.llama_sampler_init_typical(sampling.typical_p, keep)
        llama_cpp.llama_sampler_chain_add(chain, typical)
    if sampling.top_p is not None and sampling.top_p < 1.0:
        top_p = llama_cpp.llama_sampler_init_top_p(sampling.top_p, keep)
        llama_cpp.llama_sampler_chain_add(chain, top_p)
    if sampling.min_p:
        min_p = llama_cpp.llama_sampler_init_min_p(sampling.min_p, keep)
        llama_cpp.llama_sampler_chain_add(chain, min_p)
    assert sampling.temperature is not None
    temperature = llama_cpp.llama_sampler_init_temp(sampling.temperature)
    llama_cpp.llama_sampler_chain_add(chain, temperature)
    seed = secrets.randbits(32) if sampling.seed is None else sampling.seed & 0xFFFF_FFFF
    llama_cpp.llama_sampler_chain_add(chain, llama_cpp.llama_sampler_init_dist(seed))
    return chain


class _Penalties:
    """Repetition, frequency and presence penalties, as llama.cpp's sampler of that name has them,
    computed for the few tokens that they touch."""

    def __init__(self, sampling: Sampling, history: Sequence[int]) -> None:
        self._repeat = sampling.repeat_penalty or 1.0
        self._frequency = sampling.frequency_penalty or 0.0
        self._presence = sampling.presence_penalty or 0.0
        last = sampling.repeat_last_n if sampling.repeat_last_n is not None else 64
        self._active = last != 0 and (
            self._repeat != 1.0 or self._frequency != 0.0 or self._presence != 0.0
        )
        self._window: deque[int] = deque(maxlen=None if last < 0 else last)
        self._counts: Counter[int] = Counter()
        if self._active:
            for token in history if last < 0 else history[-last:]:
                self.accept(token)

    def accept(self, token: int) -> None:
        if not self._active:
            return
        if len(self._window) == self._window.maxlen:
            gone = self._window[0]
            self._counts[gone] -= 1
            if not self._counts[gone]:
                del self._counts[gone]
        self._window.append(token)
        self._counts[token] += 1

    def apply(self, row: Row) -> None:
        if not self._counts:
            return
        tokens = np.fromiter(self._counts.keys(), dtype=np.int64, count=len(self._counts))
        counts = np.fromiter(self._counts.values(), dtype=np.float32, count=len(self._counts))
        logits = row[tokens]
        logits = np.where(logits <= 0, logits * self._repeat, logits / self._repeat)
        row[tokens] = logits - counts * self._frequency - self._presence


def largest(row: Row, count: int) -> npt.NDArray[np.int64]:
    """Indices of the `count` largest values, in no order; exact.

    Each of them lies in one of the `count` blocks with the largest maxima, or in the rest that
    fills no block.
    """
    whole = len(row) // BLOCK
    if whole <= count:
        return np.argpartition(row, len(row) - count)[len(row) - count :]
    maxima = row[: whole * BLOCK].reshape(whole, BLOCK).max(axis=1)
    blocks = np.argpartition(maxima, whole - count)[whole - count :]
    inside = (blocks[:, None] * BLOCK + np.arange(BLOCK)).ravel()
    indices = np.concatenate([inside, np.arange(whole * BLOCK, len(row))])
    values = row[indices]
    return indices[np.argpartition(values, len(values) - count)[len(values) - count :]]


def _scores(row: Row, token: int, count: int) -> tuple[TokenScore, tuple[TokenScore, ...]]:
    """Log probabilities of the chosen token and of the `count` best, best first."""
    peak = row.max()
    total = peak + np.log(np.exp(row - peak, dtype=np.float32).sum(dtype=np.float64))
    best = largest(row, min(count, len(row))) if count else np.empty(0, dtype=np.int64)
    best = best[np.argsort(-row[best], kind="stable")]
    return (
        TokenScore(token, float(row[token] - total)),
        tuple(TokenScore(int(other), float(row[other] - total)) for other in best),
    )
