"""What a file's model makes of a text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from localserve.catalog.headers import read_local
from localserve.gguf.facts import GgufFacts
from localserve.gguf.pooling import divisible, natural_pooling, pooling_of
from tests.gguf.small_models import SMALL_MODELS, Value, write_small_model


def facts_of(
    folder: Path, name: str, keys: Mapping[str, Value | None], head: bool = False
) -> GgufFacts:
    model = SMALL_MODELS[name]
    changed = {key: value for key, value in (dict(model.keys) | keys).items() if value is not None}
    tensors = dict(model.tensors) | ({"cls.output.weight": (64, 1)} if head else {})
    model = replace(model, keys=changed, tensors=tensors)
    return read_local(write_small_model(folder / "model.gguf", model)).facts


@pytest.mark.parametrize(
    ("name", "keys", "head", "pooling"),
    [
        ("bert", {}, False, "mean"),
        ("bert", {"pooling_type": 2}, False, "cls"),
        ("bert", {"pooling_type": None}, False, "mean"),
        ("bert", {"pooling_type": None}, True, "rank"),
        ("bert", {"pooling_type": 4}, True, "rank"),
        ("bert", {"pooling_type": 2}, True, "cls"),
        ("qwen3", {}, False, None),
        ("qwen3", {"pooling_type": 3}, False, "last"),
        ("qwen3", {"pooling_type": 4}, True, "rank"),
        ("qwen3", {"pooling_type": 0}, False, None),
    ],
)
def test_the_file_says_how_vectors_are_made(
    name: str, keys: Mapping[str, Value | None], head: bool, pooling: str | None, tmp_path: Path
) -> None:
    assert pooling_of(facts_of(tmp_path, name, keys, head)) == pooling


def test_a_model_that_writes_text_would_pool_by_its_last_token(tmp_path: Path) -> None:
    assert natural_pooling(facts_of(tmp_path, "qwen3", {})) == "last"
    assert natural_pooling(facts_of(tmp_path, "qwen3", {"attention.causal": False})) == "mean"


def test_a_text_is_divided_only_where_tokens_look_back_alone(tmp_path: Path) -> None:
    causal = facts_of(tmp_path, "qwen3", {})
    assert divisible(causal, "last")
    assert divisible(causal, "rank")
    assert not divisible(causal, "mean")
    assert not divisible(causal, "cls")
    assert not divisible(facts_of(tmp_path, "qwen3", {"attention.causal": False}), "last")
    assert not divisible(facts_of(tmp_path, "bert", {}), "rank")
