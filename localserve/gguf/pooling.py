"""What a model makes of a text: another text, or one vector out of those of its tokens. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

from localserve.gguf.architectures import CACHELESS, ENCODERS
from localserve.gguf.facts import GgufFacts

Pooling = Literal["mean", "cls", "last", "rank"]
"""The mean of all tokens' vectors, the first one's, the last one's, or a score for a pair."""

POOLINGS: Final[Mapping[int, Pooling]] = {1: "mean", 2: "cls", 3: "last", 4: "rank"}
"""Source: enum llama_pooling_type in llama.h."""

HEADS: Final = ("cls.output.weight", "cls.weight")
"""What turns a vector into scores, the last step first. Source: LLM_TENSOR_CLS_OUT and
LLM_TENSOR_CLS in llama-arch.cpp."""

PROJECTIONS: Final = ("dense_3.weight", "dense_2.weight")
"""What some models do with a vector once it is pooled, the last step first."""


def pooling_of(facts: GgufFacts) -> Pooling | None:
    """How the file says that vectors are made; None, where its model writes text.

    Older files of rerankers say nothing and have a head for scores; an encoder whose file says
    nothing is taken to use the mean.
    """
    written = POOLINGS.get(facts.hyperparameters.pooling_type or 0)
    if written is not None:
        return written
    if facts.tensor(HEADS[0]) is not None:
        return "rank"
    return "mean" if facts.architecture in ENCODERS else None


def natural_pooling(facts: GgufFacts) -> Pooling:
    """What to make vectors by, where the file says nothing of it: in a model whose tokens see
    only those before them, the last is the one that has seen all."""
    return pooling_of(facts) or ("last" if facts.hyperparameters.attention.causal else "mean")


def divisible(facts: GgufFacts, pooling: Pooling) -> bool:
    """Whether a text can be computed piece by piece, each seeing those before it."""
    causal = facts.hyperparameters.attention.causal and facts.architecture not in CACHELESS
    return causal and pooling in ("last", "rank")


def pooled_width(facts: GgufFacts, pooling: Pooling) -> int:
    """How many numbers the model's tensors make of a text; llama.cpp, which believes the file's
    keys, aborts where it looks for more of them."""
    for name in HEADS if pooling == "rank" else PROJECTIONS:
        if (tensor := facts.tensor(name)) is not None:
            return tensor.shape[1] if len(tensor.shape) > 1 else 1
    return facts.hyperparameters.embedding_length or 0
