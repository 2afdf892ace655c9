"""A llama_batch that is filled by numpy, and a first one to warm up. Engine thread only."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import llama_cpp
import numpy as np
import numpy.typing as npt

from localserve.engine.runner import Slice


class BatchArrays:
    """A llama_batch whose arrays are numpy's, filled slice by slice instead of element by element.

    All arrays have shape (capacity,); `seq_id` is an array of pointers into `_slots`.
    """

    def __init__(self, capacity: int) -> None:
        self._tokens = np.zeros(capacity, dtype=np.int32)
        self._positions = np.zeros(capacity, dtype=np.int32)
        self._slot_counts = np.ones(capacity, dtype=np.int32)
        self._slots = np.zeros(capacity, dtype=np.int32)
        self._slot_pointers = (
            self._slots.ctypes.data + np.arange(capacity, dtype=np.uintp) * self._slots.itemsize
        ).astype(np.uintp)
        self._outputs = np.zeros(capacity, dtype=np.int8)
        self.struct = llama_cpp.llama_batch(
            n_tokens=0,
            token=pointer(self._tokens, ctypes.c_int32),
            embd=None,
            pos=pointer(self._positions, ctypes.c_int32),
            n_seq_id=pointer(self._slot_counts, ctypes.c_int32),
            seq_id=pointer(self._slot_pointers, ctypes.POINTER(ctypes.c_int32)),
            logits=pointer(self._outputs, ctypes.c_int8),
        )

    def fill(self, batch: Sequence[Slice], *, logits: bool = False) -> list[int]:
        """Lay the slices one behind the other; returns where the last token of each lies, its guess
        behind it. Those with a sampler get logits there; with `logits`, all do."""
        end = 0
        lasts: list[int] = []
        for part in batch:
            begin, guess = end, end + len(part.tokens)
            end = guess + len(part.guess)
            self._tokens[begin:guess] = part.tokens
            self._tokens[guess:end] = part.guess
            self._positions[begin:end] = np.arange(part.start, part.start + end - begin)
            self._slots[begin:end] = part.slot
            self._outputs[begin:end] = 0
            self._outputs[guess - 1 : end] = part.sampler is not None or logits
            lasts.append(guess - 1)
        self.struct.n_tokens = end
        return lasts


def warm_up(context: llama_cpp.llama_context_p, batch: BatchArrays, token: int) -> None:
    """Touch all weights once, and forget what was computed."""
    llama_cpp.llama_set_warmup(context, True)
    batch.fill([Slice(0, 0, [token], None)])
    llama_cpp.llama_decode(context, batch.struct)
    llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(context), True)
    llama_cpp.llama_synchronize(context)
    llama_cpp.llama_set_warmup(context, False)


def pointer(array: npt.NDArray[Any], kind: type) -> object:
    """The array's memory as a C pointer to `kind`; the array must outlive it."""
    return ctypes.cast(array.ctypes.data, ctypes.POINTER(kind))
