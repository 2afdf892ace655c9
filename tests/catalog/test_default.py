"""Which model is served when none is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from localserve.catalog.default import (
    SPARE_BYTES,
    available_memory_bytes,
    choose_default,
    needed_bytes,
)
from localserve.catalog.finders.record import FoundModel, Source
from localserve.gguf.pooling import Pooling

GB = 10**9


def _model(
    name: str,
    *,
    used_at: float = 0.0,
    size_bytes: int = GB,
    source: Source = "hub",
    architecture: str = "llama",
    pooling: Pooling | None = None,
    problem: str = "",
) -> FoundModel:
    path = Path(f"/{name}.gguf")
    return FoundModel(
        name,
        source,
        (path,),
        size_bytes,
        used_at,
        architecture=architecture,
        pooling=pooling,
        problem=problem,
    )


def test_without_models_it_is_the_built_in_one() -> None:
    choice = choose_default((), 16 * GB)
    assert choice.found is None
    assert choice.why == "the built-in model: there is no other model on this disk"


def test_the_most_recently_used_is_taken() -> None:
    models = (_model("old", used_at=1), _model("new", used_at=3), _model("middle", used_at=2))
    choice = choose_default(models, 16 * GB)
    assert choice.found is models[1]
    assert choice.why == "the most recently used model on this disk, from the Hugging Face cache"
    assert choice.skipped == ()


def test_what_does_not_fit_is_passed_over_with_numbers() -> None:
    large = _model("large", used_at=2, size_bytes=20 * GB, source="ollama")
    small = _model("small", used_at=1)
    choice = choose_default((large, small), 8 * GB)
    assert choice.found is small
    assert choice.skipped == (
        "ollama/large is not taken: it needs about 23.1 GB of memory, 8.0 GB are free.",
    )
    assert "that can be served here" in choice.why


def test_memory_is_enough_from_the_byte_on_that_is_needed() -> None:
    model = _model("a")
    assert needed_bytes(model) == GB + GB // 10 + SPARE_BYTES
    assert choose_default((model,), needed_bytes(model)).found is model
    assert choose_default((model,), needed_bytes(model) - 1).found is None


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (_model("a", problem="it is empty"), "it is empty"),
        (_model("bge-m3", architecture="bert"), "embeddings"),
        (_model("x", architecture="nomic-bert-moe"), "embeddings"),
        (_model("Qwen3-Embedding-0.6B", architecture="qwen3"), "embeddings"),
        (_model("gte-large", architecture="qwen2", pooling="last"), "embeddings"),
        (_model("mxbai-large", architecture="qwen2", pooling="rank"), "ranks texts"),
        (_model("Qwen3-Reranker-0.6B", architecture="qwen3"), "ranks texts"),
    ],
)
def test_what_cannot_chat_is_passed_over(model: FoundModel, words: str) -> None:
    choice = choose_default((model,), 16 * GB)
    assert choice.found is None
    assert words in choice.skipped[0]
    assert "no other model on this disk can be served here" in choice.why


def test_this_machine_has_memory() -> None:
    assert available_memory_bytes() > 0
