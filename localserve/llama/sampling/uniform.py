"""The random numbers of llama.cpp's `dist` sampler: a seed means the same here and there."""

from __future__ import annotations

import random
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
        # Seeded as std::mt19937 is, by numpy; read by Python's own twister, fifty times as fast.
        seeded = np.random.RandomState(seed).get_state(legacy=False)["state"]
        self._twister = random.Random()
        self._twister.setstate((3, (*seeded["key"].tolist(), seeded["pos"]), None))

    def next(self) -> float:
        number = self._twister.getrandbits(64) / 2.0**64
        return number if number < 1.0 else 1.0 - 2.0**-53
