"""The random numbers of llama.cpp's `dist` sampler: a seed means the same here and there."""

from __future__ import annotations

import secrets

import numpy as np

RANDOM_SEED = 0xFFFF_FFFF
"""Asks llama.cpp for a random seed. Source: llama.h, LLAMA_DEFAULT_SEED."""


def seed_of(asked: int | None) -> int:
    """The 32 bits that a request's seed stands for; random ones where it has none."""
    seed = RANDOM_SEED if asked is None else asked & 0xFFFF_FFFF
    return secrets.randbelow(RANDOM_SEED) if seed == RANDOM_SEED else seed


class Uniform:
    """Doubles in [0, 1): a Mersenne twister read as GCC's `uniform_real_distribution` reads it."""

    def __init__(self, seed: int) -> None:
        """`seed` has 32 bits."""
        self._twister = np.random.RandomState(seed)  # its stream is frozen, and std::mt19937's

    def next(self) -> float:
        number = int.from_bytes(self._twister.bytes(8), "little") / 2.0**64
        return number if number < 1.0 else 1.0 - 2.0**-53
