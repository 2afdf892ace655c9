"""Rows of logits as models have them, and as they must not have them."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from localserve.llama.sampling.row import Row

VOCABULARY = 151_936
"""Qwen3's."""


def flat_row(seed: int, size: int, spread: float = 1.0) -> Row:
    """Logits of no meaning, as of random weights."""
    return (np.random.default_rng(seed).standard_normal(size) * spread).astype(np.float32)


def peaked_row(seed: int, size: int, steepness: float = 2.0) -> Row:
    """Probabilities that fall by a power of the rank, as a language model's do."""
    random = np.random.default_rng(seed)
    logits = 20 - steepness * np.log(np.arange(1, size + 1)) + random.standard_normal(size) / 4
    return random.permutation(logits).astype(np.float32)


def row_of(kind: str, seed: int, size: int) -> Row:
    if kind == "equal":
        return np.full(size, -3.5, dtype=np.float32)
    if kind == "tied":
        return np.round(flat_row(seed, size, 2.0))
    if kind == "mostly impossible":
        row = flat_row(seed, size, 3.0)
        row[np.random.default_rng(seed).random(size) < 0.9] = -np.inf
        row[seed % size] = 1.0
        return row
    if kind == "far from zero":
        return peaked_row(seed, size) + 500
    return peaked_row(seed, size) if kind == "peaked" else flat_row(seed, size)


KINDS = ("flat", "peaked", "tied", "equal", "mostly impossible", "far from zero")

SIZES = st.integers(32, 4_000) | st.sampled_from([32, 33, 511, 512, 513, 32_000, VOCABULARY])


@st.composite
def rows(draw: st.DrawFn) -> Row:
    return row_of(draw(st.sampled_from(KINDS)), draw(st.integers(0, 1_000)), draw(SIZES))
