"""Writes a random reranker: a small BERT with a classification head of one score."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tests.gguf.small_models import SMALL_MODELS, WIDTH, write_small_model

HEAD = {
    "cls.weight": (WIDTH, WIDTH),
    "cls.bias": (WIDTH,),
    "cls.output.weight": (WIDTH, 1),
    "cls.output.bias": (1,),
}


def write_reranker(path: Path) -> Path:
    """A model of 512 tokens of context."""
    bert = SMALL_MODELS["bert"]
    model = replace(
        bert,
        name="reranker",
        keys=dict(bert.keys) | {"pooling_type": 4},
        tensors=dict(bert.tensors) | HEAD,
    )
    return write_small_model(path, model)
