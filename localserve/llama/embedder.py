"""One llama_context behind the engine's `Embedder` protocol: texts in, pooled vectors out.

Created, used and closed on the engine thread.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

import llama_cpp
import numpy as np

from localserve.engine.embedder import Piece, Vector
from localserve.engine.runner import DecodeFailed, Interrupted, Slice
from localserve.errors import ModelUnusable
from localserve.llama import library
from localserve.llama.batch import BatchArrays
from localserve.llama.context import device_in_words, make_context
from localserve.llama.memory import MemoryUntold, usage_of
from localserve.llama.model import LlamaModel
from localserve.llama.vocabulary import LlamaVocabulary
from localserve.planner.runtime import Runtime
from localserve.planner.usage import MemoryUsage


class LlamaEmbedder:
    """Implements `engine.embedder.Embedder`. Closing it lets go of the model too.

    With the pooling "rank", a vector has the scores of the classification head. Raises:
    ModelUnusable, OutOfMemory.
    """

    def __init__(self, model: LlamaModel, runtime: Runtime, *, threads: int) -> None:
        if runtime.pooling is None:
            raise ModelUnusable(f"A {model.architecture} model that writes text makes no vectors.")
        self._model = model
        self._runtime = runtime
        self._interrupt = ctypes.create_string_buffer(2)
        self._context = make_context(model, runtime, threads, self._interrupt)
        self._closed = False
        self._memory = llama_cpp.llama_get_memory(self._context)
        self._batch = BatchArrays(runtime.batch_tokens)
        self._batch.struct.logits = None  # type: ignore[assignment]  # all of them count
        ranks = runtime.pooling == "rank"
        self.width: int = model.scores if ranks else model.vector_length
        self._row_type = ctypes.c_float * self.width
        self.device = device_in_words()
        self.memory_at_start = self._memory_or_none()

    @property
    def cells(self) -> int:
        return self._runtime.context_tokens

    @property
    def slots(self) -> int:
        return self._runtime.sequences

    @property
    def divides(self) -> bool:
        return self._runtime.divides_texts

    @property
    def runtime(self) -> Runtime:
        return self._runtime

    @property
    def model(self) -> LlamaModel:
        return self._model

    @property
    def vocabulary(self) -> LlamaVocabulary:
        return self._model.vocabulary

    def memory(self) -> MemoryUsage:
        """What the context and the weights hold on each device. Raises: MemoryUntold."""
        return usage_of(self._context, self._model.handle, self._runtime)

    def _memory_or_none(self) -> MemoryUsage | None:
        try:
            return self.memory()
        except MemoryUntold:
            return None

    def run(self, batch: Sequence[Piece]) -> list[Vector | None]:
        self._batch.fill([Slice(piece.slot, piece.start, piece.tokens, None) for piece in batch])
        self._interrupt[0] = b"\0"  # an interrupt that came late was meant for an earlier step
        try:
            code = llama_cpp.llama_decode(self._context, self._batch.struct)
            if code == 2:
                raise Interrupted
            if code != 0:
                reasons = library.newest_errors()
                raise DecodeFailed("; ".join([f"llama_decode returned {code}", *reasons]))
            vectors = [self._vector(piece.slot) if piece.last else None for piece in batch]
        except BaseException:
            for piece in batch:
                self.forget(piece.slot)
            raise
        for piece in batch:
            if piece.last:
                self.forget(piece.slot)
        return vectors

    def _vector(self, slot: int) -> Vector:
        """A copy of what was pooled for the slot. Raises: DecodeFailed."""
        pooled = llama_cpp.llama_get_embeddings_seq(self._context, slot)
        address = ctypes.cast(pooled, ctypes.c_void_p).value
        if not address:
            raise DecodeFailed(f"no vector for slot {slot}")
        vector = np.ctypeslib.as_array(self._row_type.from_address(address)).copy()
        if not np.isfinite(vector).all():
            raise DecodeFailed("the vector has values that are no numbers")
        return vector

    def forget(self, slot: int) -> None:
        if self._memory:
            llama_cpp.llama_memory_seq_rm(self._memory, slot, -1, -1)

    def interrupt(self) -> None:
        if not self._closed:
            self._interrupt[0] = b"x"

    def warm_up(self) -> None:
        """Touch all weights once, so that the first request does not wait for the disk."""
        library.hush()  # from here on, what fails is raised
        token = self.vocabulary.begin or self.vocabulary.end or 0
        llama_cpp.llama_set_warmup(self._context, True)
        self._batch.fill([Slice(0, 0, [token], None)])
        llama_cpp.llama_decode(self._context, self._batch.struct)
        self.forget(0)
        llama_cpp.llama_synchronize(self._context)
        llama_cpp.llama_set_warmup(self._context, False)

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            llama_cpp.llama_free(self._context)
            self._model.close()
