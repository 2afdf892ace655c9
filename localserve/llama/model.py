"""A loaded GGUF: the weights, what its metadata says, its vocabulary. Engine thread only."""

from __future__ import annotations

import ctypes
import os
import pathlib
from collections.abc import Callable

import llama_cpp

from localserve.errors import ModelUnusable, OutOfMemory
from localserve.llama import library
from localserve.llama.parameters import model_parameters
from localserve.llama.vocabulary import LlamaVocabulary, Weights
from localserve.planner.runtime import Runtime

Progress = Callable[[float], bool]
"""Called with the loaded share; returning False stops the load."""


class LlamaModel:
    """Loads `path` (of a split model, its first part) as `runtime` says.

    The headers of all parts are checked in Python first: llama.cpp may abort the process over a
    malformed one. With `dry`, memory is only counted, and the model cannot compute; it is not
    checked, for that is done in a child, and quickly. Raises: ModelUnusable.
    """

    def __init__(
        self,
        path: pathlib.Path,
        runtime: Runtime,
        progress: Progress = lambda share: True,
        *,
        dry: bool = False,
    ) -> None:
        if not dry:
            _check(path)
        library.start()
        library.newest_errors()
        callback = llama_cpp.llama_progress_callback(lambda share, _: progress(share))
        parameters = model_parameters(runtime)
        parameters.struct.progress_callback = callback
        parameters.struct.no_alloc = dry
        pointer = llama_cpp.llama_model_load_from_file(os.fsencode(path), parameters.struct)
        if not pointer:
            reasons = library.newest_errors()
            why = "; ".join(reasons[:3]) or "it gave no reason"
            if library.memory_ran_out(reasons):
                raise OutOfMemory(
                    f"There is no memory to load {path}: {why}.",
                    hint="Unload another model, or choose a smaller quantization.",
                )
            raise ModelUnusable(
                f"llama.cpp could not load {path}: {why}.",
                hint="Is it a whole GGUF file? Download it again if it was cut off.",
            )
        self._weights: Weights | None = Weights(pointer)
        self.vocabulary = LlamaVocabulary(self._weights)
        model = pointer
        self.trained_context_tokens: int = llama_cpp.llama_model_n_ctx_train(model)
        self.embedding_length: int = llama_cpp.llama_model_n_embd(model)
        self.vector_length: int = llama_cpp.llama_model_n_embd_out(model)
        self.scores: int = llama_cpp.llama_model_n_cls_out(model)
        self.parameters: int = llama_cpp.llama_model_n_params(model)
        self.weights_bytes: int = llama_cpp.llama_model_size(model)
        self.window_tokens: int = llama_cpp.llama_model_n_swa(model)
        self.recurrent: bool = llama_cpp.llama_model_is_recurrent(
            model
        ) or llama_cpp.llama_model_is_hybrid(model)
        self.architecture = self.metadata("general.architecture") or "unknown"
        self.generates: bool = (
            not llama_cpp.llama_model_has_encoder(model)
            and self.metadata(f"{self.architecture}.attention.causal") != "false"
        )
        self.chat_template = self._template(None)
        self.rerank_template = self._template(b"rerank")

    def _template(self, name: bytes | None) -> str | None:
        template = llama_cpp.llama_model_chat_template(self.handle, name)
        return template.decode("utf-8", "replace") if template else None

    def score_label(self, number: int) -> str | None:
        """What a score of the classification head stands for, where the file says it."""
        label = llama_cpp.llama_model_cls_label(self.handle, number)
        return label.decode("utf-8", "replace") if label else None

    def metadata(self, key: str) -> str | None:
        """A value of the GGUF's metadata as text; None where it has none of that key."""
        buffer = ctypes.create_string_buffer(4096)
        length = llama_cpp.llama_model_meta_val_str(self.handle, key.encode(), buffer, len(buffer))
        return None if length < 0 else buffer.value.decode("utf-8", "replace")

    def close(self) -> None:
        """Let go of the weights; they are freed when nobody uses the vocabulary any more."""
        self._weights = None

    @property
    def handle(self) -> llama_cpp.llama_model_p:
        assert self._weights is not None, "the model is closed"
        return self._weights.pointer


def _check(path: pathlib.Path) -> None:
    """Raises: ModelUnusable. Imports here, since a dry run does without what takes long to load."""
    from localserve.catalog.headers import read_local
    from localserve.gguf.loadable import check_loadable

    check_loadable(read_local(path).facts)
