"""How a model is run: one value that is planned, dried, loaded and shown.

`up` gives llama.cpp exactly what `fit` computed with, because both pass this. Knows nothing of
llama.cpp's structures (`llama/parameters.py` does). Any thread.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from localserve.gguf.pooling import Pooling

CacheType = Literal["f32", "f16", "bf16", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0", "iq4_nl"]
LoadMode = Literal["none", "mmap"]
FlashAttention = Literal["auto", "on", "off"]

BATCH_TOKENS = 512
"""Prompt tokens per step where nobody streams: llama.cpp's own physical batch."""

GUESS_TOKENS = 63
"""Tokens guessed in a step, at most: with the one before them, a full tile of matrix products."""

MOST_SEQUENCES = 256
"""Of one context. Source: LLAMA_MAX_SEQ in llama-cparams.h."""


@dataclass(frozen=True, slots=True)
class Runtime:
    """Everything that decides how much memory a model takes and where.

    `context_tokens` is the pool of cells and the most that one sequence may use. `sequences` counts
    the running ones and the prefixes that are kept. `gpu_layers` counts from the last layer, the
    output being one of them; None means all. `cpu_expert_layers` counts from the first layer: their
    experts stay in RAM. `tensor_split` gives each GPU its share; empty means by free memory. Of
    answers, `guess_tokens` may be guessed in one step. With a `pooling` the model makes vectors,
    else text.
    """

    context_tokens: int
    sequences: int
    cache_type_k: CacheType = "f16"
    cache_type_v: CacheType = "f16"
    gpu_layers: int | None = None
    cpu_expert_layers: int = 0
    tensor_split: tuple[float, ...] = ()
    batch_tokens: int = BATCH_TOKENS
    load_mode: LoadMode = "none"
    flash_attention: FlashAttention = "auto"
    guess_tokens: int = 0
    pooling: Pooling | None = None

    @property
    def outputs_max(self) -> int:
        """Rows of logits that one step may have: one for each sequence and each guessed token, or
        for each token where vectors are made."""
        if self.pooling is not None:
            return self.batch_tokens
        return self.sequences + self.guess_tokens

    @property
    def divides_texts(self) -> bool:
        """Whether a text that is made into a vector may be computed in several steps."""
        return self.batch_tokens < self.context_tokens

    @property
    def swa_full(self) -> bool:
        """Whether sliding-window layers keep cells for the whole context; only the window's."""
        return False

    @property
    def kv_unified(self) -> bool:
        """Whether all sequences share one pool of cells."""
        return True

    def as_document(self) -> dict[str, Any]:
        """For JSON; `from_document` reads it back."""
        return asdict(self)


def from_document(document: Mapping[str, Any]) -> Runtime:
    """The runtime that `Runtime.as_document` wrote."""
    return Runtime(**{**document, "tensor_split": tuple(document["tensor_split"])})


POOLED_SEQUENCES = 64
"""Texts that are made into vectors in one step, at most."""

POOLED_OUTPUT_BYTES = 2 << 30
"""The output buffer that an unasked context may lead to, where whole texts are computed at once:
llama.cpp has room there for the logits of every token (1 MB each in a vocabulary of 250,000)."""


def sequences_for(parallel: int, recurrent: bool) -> int:
    """Sequences of a context in which `parallel` answers run.

    There is one more for each prefix that is kept; recurrent state is paid per sequence, so such
    models keep one only.
    """
    return min(parallel + (1 if recurrent else parallel), MOST_SEQUENCES)
