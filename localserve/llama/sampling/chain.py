"""llama.cpp's own samplers over a few candidates: filters in its order, then the draw."""

from __future__ import annotations

import ctypes

import llama_cpp
import numpy as np

from localserve.chat import Sampling
from localserve.llama.sampling.row import Ids, Row

CANDIDATE = np.dtype([("id", np.int32), ("logit", np.float32), ("p", np.float32)])
"""llama_token_data."""


class Chain:
    """Top-k, typical, top-p, min-p, temperature and `dist`, as far as the settings have them."""

    def __init__(self, sampling: Sampling, seed: int) -> None:
        """`sampling` has a temperature above 0; `seed` has 32 bits."""
        self._chain = _make_chain(sampling, seed)
        self._array = llama_cpp.llama_token_data_array(selected=-1, sorted=False)
        self._reference = ctypes.byref(self._array)
        self._reserve(64)

    def draw(self, ids: Ids, logits: Row) -> int:
        """One of the candidates, given by ids and logits of the same length."""
        count = len(ids)
        if count > len(self._ids):
            self._reserve(2 * count)
        self._ids[:count] = ids
        self._logits[:count] = logits
        self._array.size = count
        self._array.selected = -1
        self._array.sorted = False
        llama_cpp.llama_sampler_apply(self._chain, self._reference)
        return int(self._ids[self._array.selected])

    def close(self) -> None:
        """Free it. Harmless when called twice."""
        if self._chain is not None:
            llama_cpp.llama_sampler_free(self._chain)
            self._chain = None

    def _reserve(self, count: int) -> None:
        candidates = np.empty(count, dtype=CANDIDATE)
        self._ids, self._logits = candidates["id"], candidates["logit"]  # they keep the memory
        pointer = candidates.ctypes.data_as(ctypes.POINTER(llama_cpp.llama_token_data))
        self._array.data = pointer  # type: ignore[assignment]


def _make_chain(sampling: Sampling, seed: int) -> llama_cpp.llama_sampler_p | None:
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
    llama_cpp.llama_sampler_chain_add(chain, llama_cpp.llama_sampler_init_dist(seed))
    return chain
