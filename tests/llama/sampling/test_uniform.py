from __future__ import annotations

import numpy as np
import pytest

from localserve.chat import Sampling
from localserve.llama.sampling.chain import Chain
from localserve.llama.sampling.uniform import Uniform, seed_of


@pytest.mark.parametrize("seed", [0, 1, 5489, 0xFFFF_FFFE])
def test_numbers_are_those_of_llama_cpp(seed: int) -> None:
    """Among so many equally likely candidates, the chosen one tells the number's first digits."""
    count = 100_000
    chain = Chain(Sampling(temperature=1.0), seed)
    ids = np.arange(count)
    equal = np.zeros(count, dtype=np.float32)
    uniform = Uniform(seed)
    for _ in range(50):
        assert chain.draw(ids, equal) == pytest.approx(uniform.next() * count, abs=1.01)
    chain.close()


def test_numbers_are_spread_evenly() -> None:
    uniform = Uniform(7)
    numbers = np.array([uniform.next() for _ in range(20_000)])
    assert numbers.min() >= 0
    assert numbers.max() < 1
    counts = np.bincount((numbers * 100).astype(int), minlength=100)
    assert ((counts - 200) ** 2 / 200).sum() < 160  # chi-square with 99 degrees of freedom


def test_a_seed_stands_for_its_last_32_bits_and_none_is_random() -> None:
    assert seed_of(5) == 5
    assert seed_of((7 << 32) + 5) == 5
    assert seed_of(-1) != 0xFFFF_FFFF
    assert seed_of(None) != seed_of(None)
