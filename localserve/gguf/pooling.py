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

_SCORES: Final = "cls.output.weight"
"""What turns a vector into scores. Source: LLM_TENSOR_CLS_OUT in llama-arch.cpp."""


def pooling_of(facts: GgufFacts) -> Pooling | None:
    """How the file says that vectors are made; None, where its model writes text.

    Older files of rerankers say nothing and have a head for scores; an encoder whose file says
    nothing is taken to use the mean.
    """
    written = POOLINGS.get(facts.hyperparameters.pooling_type or 0)
    if written is not None:
        return written
    if facts.tensor(_SCORES) is not None:
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
