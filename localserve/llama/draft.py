"""The llama_context of a model that guesses for another, behind the engine's `Drafter` protocol.

Created, used and closed on the engine thread, beside the context of the model it guesses for. The
runner that owns both makes its slots follow that one's.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

import llama_cpp
import numpy as np

from localserve.engine.runner import DecodeFailed, Interrupted, NoCells, Slice
from localserve.llama import library
from localserve.llama.batch import BatchArrays, warm_up
from localserve.llama.context import make_context
from localserve.llama.memory import usage_of
from localserve.llama.model import LlamaModel
from localserve.planner.companions import runtime_of_draft
from localserve.planner.runtime import Runtime
from localserve.planner.usage import Beside


class LlamaDraft:
    """Implements `engine.runner.Drafter` for `target`, which is run as `runtime` says.

    Closes `model` with itself, and where it cannot be made. Raises: ModelUnusable, OutOfMemory.
    """

    def __init__(
        self,
        model: LlamaModel,
        target: LlamaModel,
        runtime: Runtime,
        threads: int,
        interrupt: ctypes.Array[ctypes.c_char],
    ) -> None:
        """`interrupt` ends its steps as it does the target's."""
        self._model = model
        self._interrupt = interrupt
        self._runtime = runtime_of_draft(runtime)
        self._size = model.vocabulary.size
        self._known = min(self._size, target.vocabulary.size)
        self.cost = model.weights_bytes / target.weights_bytes
        self._context = make_context(model, self._runtime, threads, interrupt)
        self._memory = llama_cpp.llama_get_memory(self._context)
        self._batch = BatchArrays(self._runtime.batch_tokens)
        self._row_type = ctypes.c_float * self._known
        self._held: dict[int, int] = {}

    @property
    def batch_tokens(self) -> int:
        return self._runtime.batch_tokens

    def memory(self) -> Beside:
        """What its context and weights hold on each device. Raises: MemoryUntold."""
        usage = usage_of(self._context, self._model.handle, self._runtime)
        return Beside("draft", usage.devices, usage.output_bytes)

    def held(self, slot: int) -> int:
        return self._held.get(slot, 0)

    def likeliest(self, batch: Sequence[Slice]) -> list[int]:
        outputs = self._batch.fill(list(map(self._in_its_words, batch)), logits=True)
        self._interrupt[0] = b"\0"  # an interrupt that came late was meant for an earlier step
        code = llama_cpp.llama_decode(self._context, self._batch.struct)
        if code != 0:
            self._undo(batch, code)
        for part in batch:
            self._held[part.slot] = part.start + len(part.tokens)
        return list(map(self._largest, outputs))

    def _in_its_words(self, part: Slice) -> Slice:
        """Tokens that only the target has are unused ones; any other may stand for them."""
        tokens = [token if token < self._size else 0 for token in part.tokens]
        return Slice(part.slot, part.start, tokens, None)

    def _largest(self, output: int) -> int:
        """The token with the largest logit, of those that both models have."""
        logits = llama_cpp.llama_get_logits_ith(self._context, output)
        if not logits:
            raise DecodeFailed(f"no logits for position {output} of the batch")
        memory = self._row_type.from_address(ctypes.addressof(logits.contents))
        return int(np.frombuffer(memoryview(memory), np.float32).argmax())

    def _undo(self, batch: Sequence[Slice], code: int) -> None:
        """Source: llama.h, llama_decode, for what the codes mean and what may be left over."""
        reasons = library.newest_errors()
        for part in batch:
            llama_cpp.llama_memory_seq_rm(self._memory, part.slot, part.start, -1)
        if code == 1:
            raise NoCells
        if code == 2:
            raise Interrupted
        raise DecodeFailed("; ".join([f"llama_decode returned {code}", *reasons]))

    def truncate(self, slot: int, length: int) -> None:
        if length < self.held(slot):
            self._held[slot] = length
            llama_cpp.llama_memory_seq_rm(self._memory, slot, length, -1)

    def share(self, source: int, target: int, length: int) -> None:
        self.truncate(target, 0)
        there = min(length, self.held(source))
        if there:
            llama_cpp.llama_memory_seq_cp(self._memory, source, target, 0, there)
            self._held[target] = there

    def clear(self) -> None:
        llama_cpp.llama_memory_clear(self._memory, False)
        self._held.clear()

    def warm_up(self, token: int) -> None:
        """Touch all weights once, so that the first guess does not wait for the disk."""
        warm_up(self._context, self._batch, token if token < self._size else 0)

    def close(self) -> None:
        llama_cpp.llama_free(self._context)
        self._model.close()
