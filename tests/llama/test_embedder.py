"""Vectors by llama.cpp, against a reference and against themselves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from localserve.catalog.headers import read_local
from localserve.engine.embedder import Piece, Vector
from localserve.engine.runner import DecodeFailed
from localserve.llama.embedder import LlamaEmbedder
from localserve.llama.model import LlamaModel
from localserve.planner.plan import Wanted, runtime_of
from localserve.planner.runtime import Runtime
from tests.minilm import MiniLm
from tests.minilm_reference import embed, tokens_of

TEXTS = (
    "The cat sits on the mat.",
    "Paris is the capital of France!",
    "def square(x): return x**2  # naïve, like a café",
    "你好, 世界: mixed scripts",
    "one",
    "word " * 300,
)


@contextmanager
def embedder_of(path: Path, runtime: Runtime | None = None) -> Iterator[LlamaEmbedder]:
    runtime = runtime or runtime_of(read_local(path).facts, Wanted())
    embedder = LlamaEmbedder(LlamaModel(path, runtime), runtime, threads=1)
    embedder.warm_up()
    try:
        yield embedder
    finally:
        embedder.close()


def pieces_of(inputs: Sequence[Sequence[int]]) -> list[Piece]:
    return [Piece(slot, 0, tokens, last=True) for slot, tokens in enumerate(inputs)]


def normal(vector: Vector | None) -> Vector:
    assert vector is not None
    normalized: Vector = vector / np.linalg.norm(vector)
    return normalized


def test_vectors_are_those_of_the_published_model(minilm: MiniLm) -> None:
    with embedder_of(minilm.gguf) as embedder:
        for text in TEXTS:
            tokens = embedder.vocabulary.tokenize(text, add_special=True, parse_special=True)
            assert tokens == tokens_of(minilm, text)
            (vector,) = embedder.run(pieces_of([tokens]))
            assert normal(vector) @ embed(minilm, text) >= 0.9999, text


def test_a_batch_gives_what_single_texts_give(minilm: MiniLm) -> None:
    with embedder_of(minilm.gguf) as embedder:
        inputs = [tokens_of(minilm, text) for text in TEXTS[:5]]
        together = embedder.run(pieces_of(inputs))
        for tokens, vector in zip(inputs, together, strict=True):
            (alone,) = embedder.run(pieces_of([tokens]))
            assert normal(vector) @ normal(alone) >= 0.99999


def test_a_divided_text_gives_what_it_gives_as_a_whole(tiny_f16: Path) -> None:
    tokens = [number % 500 for number in range(900)]
    whole = Runtime(1_024, 4, batch_tokens=1_024, pooling="last")
    with embedder_of(tiny_f16, whole) as embedder:
        (wanted,) = embedder.run(pieces_of([tokens]))
    divided = Runtime(1_024, 4, batch_tokens=512, pooling="last")
    with embedder_of(tiny_f16, divided) as embedder:
        other = Piece(1, 0, tokens[:100], last=True)
        first, beside = embedder.run([Piece(0, 0, tokens[:400], last=False), other])
        assert first is None
        assert embedder.run([Piece(0, 400, tokens[400:800], last=False)]) == [None]
        (vector,) = embedder.run([Piece(0, 800, tokens[800:], last=True)])
        assert normal(vector) @ normal(wanted) >= 0.999
        assert abs(normal(beside) @ normal(wanted)) < 0.99  # the slots are not mixed up
        (again,) = embedder.run([Piece(0, 0, tokens[:100], last=True)])
        assert normal(again) @ normal(beside) >= 0.999  # nothing is left of the first text


def test_a_batch_that_fails_leaves_its_slots_empty(tiny_f16: Path) -> None:
    with embedder_of(tiny_f16, Runtime(1_024, 4, pooling="last")) as embedder:
        embedder.run([Piece(0, 0, [1, 2, 3], last=False)])
        with pytest.raises(DecodeFailed, match="llama_decode returned"):
            embedder.run([Piece(0, 3, [1 << 30], last=True)])
        (vector,) = embedder.run([Piece(0, 0, [1, 2, 3], last=True)])
        assert vector is not None
        assert vector.shape == (embedder.width,)


def test_a_reranker_gives_one_score(reranker: Path) -> None:
    with embedder_of(reranker) as embedder:
        first, second = embedder.run(pieces_of([[1, 2, 3], [4, 5]]))
        assert first is not None
        assert second is not None
        assert first.shape == second.shape == (1,)
        assert first[0] != second[0]
