"""How a model that makes vectors is planned, and what that takes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from localserve.catalog.headers import read_local
from localserve.catalog.spec import LocalFile, ModelSpec
from localserve.gguf.facts import GgufFacts
from localserve.planner.dry_run import dry_run
from localserve.planner.formula import estimate
from localserve.planner.plan import Wanted, checkpoint_room, runtime_of, wanted_by
from localserve.planner.runtime import BATCH_TOKENS, POOLED_OUTPUT_BYTES, from_document
from localserve.planner.usage import MemoryUsage
from tests.gguf.small_models import SMALL_MODELS, SmallModel, write_small_model
from tests.planner.real_loads import load_all


def changed(name: str, **keys: int | bool) -> SmallModel:
    model = SMALL_MODELS[name]
    named = {key.replace("__", "."): value for key, value in keys.items()}
    return replace(model, keys=dict(model.keys) | named)


def facts_of(folder: Path, model: SmallModel) -> GgufFacts:
    return read_local(write_small_model(folder / "model.gguf", model)).facts


def test_an_encoder_takes_whole_texts_up_to_its_trained_context(tmp_path: Path) -> None:
    runtime = runtime_of(facts_of(tmp_path, SMALL_MODELS["bert"]), Wanted(parallel=2))
    assert runtime.pooling == "mean"
    assert runtime.context_tokens == runtime.batch_tokens == runtime.outputs_max == 512
    assert not runtime.divides_texts
    assert from_document(runtime.as_document()) == runtime


def test_a_causal_model_divides_long_texts(tmp_path: Path) -> None:
    runtime = runtime_of(facts_of(tmp_path, changed("qwen3", pooling_type=3)), Wanted())
    assert (runtime.pooling, runtime.context_tokens) == ("last", 4_096)
    assert runtime.batch_tokens == BATCH_TOKENS
    assert runtime.divides_texts


def test_wishes_go_before_the_file(tmp_path: Path) -> None:
    facts = facts_of(tmp_path, SMALL_MODELS["qwen3"])
    file = LocalFile(tmp_path / "model.gguf")
    assert runtime_of(facts, Wanted()).pooling is None
    plain = wanted_by(ModelSpec("m", file, kind="embedding"))
    assert runtime_of(facts, plain).pooling == "last"
    mean = wanted_by(ModelSpec("m", file, pooling="mean"))
    assert runtime_of(facts, mean).pooling == "mean"
    assert runtime_of(facts, mean).batch_tokens == 4_096


def test_a_large_vocabulary_shortens_the_unasked_context_only(tmp_path: Path) -> None:
    facts = facts_of(tmp_path, changed("bert", context_length=8_192))
    embedding = facts.tensor("token_embd.weight")
    assert embedding is not None
    wide = replace(embedding, shape=(1_024, 250_000))
    large = replace(
        facts,
        hyperparameters=replace(facts.hyperparameters, embedding_length=1_024),
        _by_name={"token_embd.weight": wide},
    )
    runtime = runtime_of(large, Wanted())
    assert runtime.context_tokens == 2_048
    assert estimate(large, runtime).output_bytes <= POOLED_OUTPUT_BYTES
    assert runtime_of(large, Wanted(context_tokens=8_192)).context_tokens == 8_192
    assert runtime_of(facts, Wanted()).context_tokens == 8_192


CASES = {
    "encoder": SMALL_MODELS["bert"],
    "causal": changed("qwen3", pooling_type=3),
    "both ways": changed("qwen2", pooling_type=1, attention__causal=False),
}


@pytest.mark.parametrize("name", CASES)
def test_a_header_predicts_what_vectors_take(name: str, tmp_path: Path) -> None:
    path = write_small_model(tmp_path / "model.gguf", CASES[name])
    facts = read_local(path).facts
    runtime = runtime_of(facts, Wanted())
    assert runtime.pooling is not None
    (dried,) = dry_run(path, [runtime])
    assert isinstance(dried, MemoryUsage), dried
    (taken,) = load_all([(path, runtime)])
    assert dried.total_bytes == pytest.approx(taken.total_bytes, rel=0.01)
    assert dried.output_bytes == taken.output_bytes == estimate(facts, runtime).output_bytes
    by_hand = estimate(facts, runtime)
    assert by_hand.weights_bytes == pytest.approx(dried.weights_bytes, rel=0.001)
    assert by_hand.cache_bytes == dried.cache_bytes


def test_no_checkpoints_are_kept_of_vectors(tmp_path: Path) -> None:
    facts = facts_of(tmp_path, SMALL_MODELS["gemma3"])
    text, vectors = (runtime_of(facts, Wanted(pooling=pooling)) for pooling in (None, "last"))
    assert checkpoint_room(facts, text, Wanted()) > 0
    assert checkpoint_room(facts, vectors, Wanted()) == 0
    assert vectors.guess_tokens == 0
