"""Embedding models and rerankers in this process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import pytest_asyncio

from localserve.backends import local
from localserve.backends.embedding import EmbeddingBackend, load
from localserve.backends.loading import LoadOptions
from localserve.catalog.spec import LocalFile, ModelSpec
from localserve.chat import (
    ChatRequest,
    CompletionRequest,
    EmbeddingAnswer,
    EmbeddingRequest,
    Message,
    Prompt,
    RerankRequest,
)
from localserve.errors import (
    ContextOverflow,
    InvalidRequest,
    ModelMalformed,
    ModelUnusable,
    WrongTask,
)
from localserve.planner.plan import Wanted
from localserve.prompting.sandbox import TemplateProcess
from tests.gguf.small_models import SMALL_MODELS, write_small_model


async def loaded(path: Path, context_tokens: int | None = None, **more: object) -> EmbeddingBackend:
    spec = ModelSpec("model", LocalFile(path), **more)  # type: ignore[arg-type]
    options = LoadOptions(Wanted(context_tokens=context_tokens), threads=1)
    return await load(spec, options, lambda share: None)


@pytest.fixture(scope="session")
def encoder(model_folder: Path) -> Path:
    return write_small_model(model_folder / "encoder.gguf", SMALL_MODELS["bert"])


@pytest_asyncio.fixture
async def backend(encoder: Path) -> AsyncIterator[EmbeddingBackend]:
    one = await loaded(encoder)
    yield one
    await one.close()


@pytest_asyncio.fixture
async def ranker(reranker: Path) -> AsyncIterator[EmbeddingBackend]:
    one = await loaded(reranker)
    yield one
    await one.close()


async def embed(
    backend: EmbeddingBackend, *inputs: Prompt, dimensions: int | None = None
) -> EmbeddingAnswer:
    return await backend.embed(EmbeddingRequest("model", inputs, dimensions))


async def test_vectors_have_length_one_and_tokens_are_counted(backend: EmbeddingBackend) -> None:
    answer = await embed(backend, "the cat", (5, 6, 7))
    assert answer.vectors.shape == (2, backend.facts.embedding_length)
    assert np.linalg.norm(answer.vectors, axis=1) == pytest.approx([1, 1])
    alone = await embed(backend, "the cat")
    assert answer.prompt_tokens == alone.prompt_tokens + 3
    assert answer.vectors[0] @ alone.vectors[0] == pytest.approx(1)


async def test_fewer_dimensions_are_the_first_ones_made_as_long_as_one(
    backend: EmbeddingBackend,
) -> None:
    whole = (await embed(backend, "the cat")).vectors[0]
    cut = (await embed(backend, "the cat", dimensions=16)).vectors[0]
    assert cut == pytest.approx(whole[:16] / np.linalg.norm(whole[:16]), abs=1e-4)


async def test_more_dimensions_than_there_are_are_refused(backend: EmbeddingBackend) -> None:
    with pytest.raises(InvalidRequest, match=r"65 dimensions are asked for.* have 64") as caught:
        await embed(backend, "the cat", dimensions=65)
    assert caught.value.param == "dimensions"


async def test_a_text_that_is_too_long_is_refused_with_the_numbers(encoder: Path) -> None:
    backend = await loaded(encoder, context_tokens=100)
    try:
        assert len((await embed(backend, tuple([5] * 100))).vectors) == 1
        with pytest.raises(ContextOverflow) as caught:
            await embed(backend, "fine", tuple([5] * 101))
        message = str(caught.value)
        assert "100 tokens" in message
        assert "101 input tokens" in message
        assert "input[1]" in message
        assert "--ctx 512" in message
        assert caught.value.param == "input"
    finally:
        await backend.close()


async def test_the_trained_context_is_the_end_of_what_can_be_asked_for(
    backend: EmbeddingBackend,
) -> None:
    with pytest.raises(ContextOverflow) as caught:
        await embed(backend, tuple([5] * 513))
    assert "--ctx" not in str(caught.value)


@pytest.mark.parametrize("empty", ["", ()])
async def test_nothing_is_said_of_an_empty_text(backend: EmbeddingBackend, empty: Prompt) -> None:
    with pytest.raises(InvalidRequest, match=r"input\[1\] is one"):
        await embed(backend, "text", empty)


@pytest.mark.parametrize("token", [-1, 512, 1 << 31])
async def test_unknown_tokens_are_refused(backend: EmbeddingBackend, token: int) -> None:
    with pytest.raises(InvalidRequest, match=rf"no token {token}: .* has 512"):
        await embed(backend, (1, token))


async def test_a_model_that_embeds_writes_no_text_and_ranks_nothing(
    backend: EmbeddingBackend,
) -> None:
    with pytest.raises(WrongTask, match=r"makes embeddings and writes no text.*/v1/embeddings"):
        await anext(backend.chat(ChatRequest("model", (Message("user", "Hello"),))))
    with pytest.raises(WrongTask, match="writes no text"):
        await anext(backend.complete(CompletionRequest("model", ("Hello",))))
    with pytest.raises(WrongTask, match="ranks no documents"):
        await backend.rerank(RerankRequest("model", "a", ("b",)))
    assert backend.facts.capabilities == ("embedding",)


async def test_scores_of_a_reranker_are_from_nought_to_one(ranker: EmbeddingBackend) -> None:
    documents = ("the cat sat", "a dog", "")
    answer = await ranker.rerank(RerankRequest("model", "where is the cat", documents))
    assert len(answer.scores) == 3
    assert all(0 < score < 1 for score in answer.scores)
    assert len(set(answer.scores)) == 3
    (alone,) = (await ranker.rerank(RerankRequest("model", "where is the cat", ("a dog",)))).scores
    assert alone == pytest.approx(answer.scores[1], abs=1e-3)
    with pytest.raises(WrongTask, match="makes no embeddings"):
        await embed(ranker, "text")
    assert ranker.facts.capabilities == ("rerank",)


async def test_a_pair_that_is_too_long_names_its_document(ranker: EmbeddingBackend) -> None:
    with pytest.raises(ContextOverflow, match=r"documents\[1\]") as caught:
        await ranker.rerank(RerankRequest("model", "cat", ("short", "cat " * 600)))
    assert caught.value.param == "documents"


def write_qwen_reranker(path: Path, labels: list[str], template: str | None) -> Path:
    """A random Qwen3 with a head of several scores."""
    model = SMALL_MODELS["qwen3"]
    extra: dict[str, object] = {"qwen3.classifier.output_labels": labels}
    if template is not None:
        extra["tokenizer.chat_template.rerank"] = template
    model = replace(
        model,
        keys=dict(model.keys) | {"pooling_type": 4},
        tensors=dict(model.tensors) | {"cls.output.weight": (64, len(labels))},
        extra_keys=extra,  # type: ignore[arg-type]
    )
    return write_small_model(path, model)


async def test_a_reranker_with_a_template_scores_the_text_that_it_makes(tmp_path: Path) -> None:
    labels = ["no", "yes"]
    path = write_qwen_reranker(tmp_path / "a.gguf", labels, "<q>{query}</q> {document} <end>")
    backend = await loaded(path, 1_024)
    plain = await loaded(write_qwen_reranker(tmp_path / "b.gguf", labels, None), 1_024)
    turned = await loaded(write_qwen_reranker(tmp_path / "c.gguf", labels[::-1], None), 1_024)
    request = RerankRequest("model", "the cat", ("a cat sat", "word " * 150))
    try:
        answer = await backend.rerank(request)
        other = await plain.rerank(request)
        assert all(0 < score < 1 for score in answer.scores)
        assert answer.prompt_tokens > other.prompt_tokens
        assert answer.scores != other.scores
        opposite = await turned.rerank(request)
        assert [1 - score for score in other.scores] == pytest.approx(opposite.scores, abs=1e-4)
    finally:
        for one in (backend, plain, turned):
            await one.close()


async def test_a_head_that_tells_other_classes_apart_is_no_reranker(tmp_path: Path) -> None:
    labels = ["joy", "anger", "fear"]
    path = write_qwen_reranker(tmp_path / "a.gguf", labels, None)
    with pytest.raises(ModelUnusable, match="3 classes apart, 'joy', 'anger', 'fear'"):
        await loaded(path, 1_024)


@pytest.mark.parametrize(
    ("keys", "tensors", "extra", "problem"),
    [
        ({"embedding_length_out": 4_096}, {}, {}, "4096 numbers .* make 64"),
        (
            {"pooling_type": 4},
            {"cls.weight": (64, 64), "cls.bias": (64,)},
            {"bert.classifier.output_labels": ["yes", *map(str, range(500))]},
            "501 numbers .* make 64",
        ),
    ],
)
async def test_a_file_that_promises_wider_vectors_than_it_makes_is_refused(
    tmp_path: Path,
    keys: dict[str, int],
    tensors: dict[str, tuple[int, ...]],
    extra: dict[str, list[str]],
    problem: str,
) -> None:
    model = SMALL_MODELS["bert"]
    model = replace(
        model,
        keys=dict(model.keys) | keys,
        tensors=dict(model.tensors) | tensors,
        extra_keys=extra,  # type: ignore[arg-type]
    )
    path = write_small_model(tmp_path / "model.gguf", model)
    with pytest.raises(ModelMalformed, match=problem):
        await loaded(path)


async def test_a_chat_model_embeds_where_its_entry_says_so(tiny_f16: Path) -> None:
    backend = await loaded(tiny_f16, 1_024, pooling="last")
    try:
        long = tuple(number % 400 for number in range(1_000))
        together, alone = await asyncio.gather(
            embed(backend, long, (40, 41)), embed(backend, (40, 41))
        )
        assert together.vectors[1] @ alone.vectors[0] == pytest.approx(1, abs=1e-3)
        assert backend.facts.capabilities == ("embedding",)
        assert backend.status().alive
        assert await backend.responsive(10.0)
    finally:
        await backend.close()


async def test_a_model_without_a_classification_head_ranks_nothing(tiny_f16: Path) -> None:
    with pytest.raises(ModelUnusable, match="no classification head"):
        await loaded(tiny_f16, 1_024, pooling="rank")


async def test_a_chat_model_says_how_it_could_embed(tiny_f16: Path) -> None:
    options, templates = LoadOptions(Wanted(context_tokens=512), threads=1), TemplateProcess()
    spec = ModelSpec("tiny", LocalFile(tiny_f16))
    backend = await local.load(spec, options, lambda share: None, templates)
    try:
        with pytest.raises(WrongTask, match='pooling = "last"'):
            await backend.embed(EmbeddingRequest("tiny", ("text",)))
        with pytest.raises(WrongTask, match="Name a reranker"):
            await backend.rerank(RerankRequest("tiny", "a", ("b",)))
        assert "completion" in backend.facts.capabilities
    finally:
        await backend.close()
        await templates.close()


async def test_names_are_taken_over_without_a_reload(backend: EmbeddingBackend) -> None:
    backend.reconfigure(ModelSpec("new", LocalFile(Path(backend.facts.file)), ("other",)))
    assert (backend.facts.name, backend.facts.aliases) == ("new", ("other",))
