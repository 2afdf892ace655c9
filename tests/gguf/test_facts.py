"""What headers say of a model, alone and split into shards."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from gguf import GGMLQuantizationType

from localserve.errors import ModelMalformed
from localserve.gguf.facts import GgufFacts, merge_files
from localserve.gguf.header import Header, parse_file
from tests.gguf.raw import STRING, U32, Raw, array, pair, parse_bytes, strings, tensor
from tests.gguf.small_models import SMALL_MODELS, SmallModel, write_small_model


def _facts(tmp_path: Path, name: str, **keys: object) -> GgufFacts:
    model = SMALL_MODELS[name]
    model = dataclasses.replace(model, keys={**model.keys, **keys})  # type: ignore[dict-item]
    return merge_files([parse_file(write_small_model(tmp_path / "m.gguf", model))])


def _shard(number: int, count: int, *, tensors: int = 2, name: str = "t") -> Header:
    keys = [
        pair("general.architecture", STRING, "llama"),
        pair("split.no", U32, number),
        pair("split.count", U32, count),
        pair("split.tensors.count", U32, tensors),
    ]
    content = Raw(keys=keys, tensors=[tensor(f"{name}{number}", (32,))]).build()
    return parse_bytes(content, name=f"m-{number + 1}")


def test_a_dense_model(tmp_path: Path) -> None:
    facts = _facts(tmp_path, "llama-gqa-tied")
    assert (facts.architecture, facts.name, facts.kind) == (
        "llama",
        "Small llama-gqa-tied",
        "model",
    )
    assert facts.parameters == sum(tensor.elements for tensor in facts.tensors)
    assert facts.weights_bytes == 4 * facts.parameters == facts.bytes_by_type["F32"]
    assert facts.size_bytes == (tmp_path / "m.gguf").stat().st_size
    assert facts.tied_embeddings
    assert facts.quantization == "F32"
    sizes = facts.hyperparameters
    assert (sizes.layers, sizes.embedding_length, sizes.context_length) == (3, 64, 4096)
    assert sizes.feed_forward_lengths == (128, 128, 128)
    attention = sizes.attention
    assert (attention.heads(0), attention.kv_heads(2)) == (4, 2)
    assert (attention.key_length, attention.value_length) == (16, 16)
    assert (attention.sliding_window, attention.latent, attention.causal) == (None, False, True)
    assert (sizes.experts, sizes.recurrence, sizes.rope.scaling) == (None, None, "linear")
    assert (facts.tokenizer.model, facts.tokenizer.n_tokens) == ("gpt2", 512)
    assert facts.tokenizer.eos is not None
    assert "im_start" in (facts.tokenizer.chat_template or "")
    output = facts.tensor("output.weight")
    assert output is None
    embedding = facts.tensor("token_embd.weight")
    assert embedding is not None
    assert embedding.shape == (64, 512)


def test_untied_embeddings_are_seen(tmp_path: Path) -> None:
    assert not _facts(tmp_path, "llama").tied_embeddings


def test_quantized_weights_are_counted_by_type(tmp_path: Path) -> None:
    path = tmp_path / "q.gguf"
    write_small_model(path, SMALL_MODELS["llama"], GGMLQuantizationType.Q8_0)
    facts = merge_files([parse_file(path)])
    assert list(facts.bytes_by_type) == ["Q8_0", "F32"]
    assert sum(facts.bytes_by_type.values()) == facts.weights_bytes
    assert facts.quantization == "Q8_0"


def test_the_files_own_word_for_its_quantization_comes_first() -> None:
    keys = [pair("general.architecture", STRING, "llama"), pair("general.file_type", U32, 15)]
    facts = merge_files([parse_bytes(Raw(keys=keys).build())])
    assert (facts.file_type, facts.quantization) == ("Q4_K_M", "Q4_K_M")
    unknown = [keys[0], pair("general.file_type", U32, 1024)]
    assert merge_files([parse_bytes(Raw(keys=unknown).build())]).quantization == "F32"


@pytest.mark.parametrize(
    ("name", "keys", "window", "windowed"),
    [
        ("gemma2", {}, 128, [1, 0, 1, 0]),
        ("gemma3", {}, 64, [1, 1, 1, 1, 1, 0, 1]),
        ("gemma3", {"attention.sliding_window_pattern": 2}, 64, [1, 0, 1, 0, 1, 0, 1]),
        ("gemma3", {"attention.sliding_window_pattern": [True] * 6 + [False]}, 64, [1] * 6 + [0]),
        ("gemma3", {"attention.sliding_window": 0}, None, [0] * 7),
        ("gpt-oss", {}, 128, [1, 0, 1, 0]),
        ("lfm2", {"attention.sliding_window": 32}, 32, [0, 0, 1, 0]),
        ("phi3", {"attention.sliding_window": 32}, None, [0] * 3),
        ("llama", {"attention.sliding_window": 32}, None, [0] * 3),
    ],
)
def test_which_layers_have_a_window(
    tmp_path: Path, name: str, keys: dict[str, object], window: int | None, windowed: list[int]
) -> None:
    attention = _facts(tmp_path, name, **keys).hyperparameters.attention
    assert attention.sliding_window == window
    assert list(map(int, attention.windowed)) == windowed


def test_a_mixture_of_experts(tmp_path: Path) -> None:
    experts = _facts(tmp_path, "deepseek2").hyperparameters.experts
    assert experts is not None
    assert (experts.count, experts.used, experts.shared) == (4, 2, 1)
    assert experts.feed_forward_length == 32


def test_latent_attention(tmp_path: Path) -> None:
    attention = _facts(tmp_path, "deepseek2").hyperparameters.attention
    assert attention.latent
    assert attention.kv_lora_rank == 32
    assert (attention.key_length, attention.key_length_mla) == (48, 32)


@pytest.mark.parametrize(
    ("name", "layers"),
    [
        ("mamba", [1, 1, 1]),
        ("jamba", [1, 0, 1, 1]),
        ("granitehybrid", [1, 0, 1]),
        ("falcon-h1", [1, 1, 1]),
        ("lfm2", [1, 1, 0, 1]),
        ("qwen3next", [1, 1, 1, 0]),
    ],
)
def test_which_layers_are_recurrent(tmp_path: Path, name: str, layers: list[int]) -> None:
    recurrence = _facts(tmp_path, name).hyperparameters.recurrence
    assert recurrence is not None
    assert list(map(int, recurrence.layers)) == layers


def test_an_encoder_is_not_causal(tmp_path: Path) -> None:
    sizes = _facts(tmp_path, "bert").hyperparameters
    assert not sizes.attention.causal
    assert sizes.pooling_type == 1


def test_shards_make_one_model_in_any_order(tmp_path: Path) -> None:
    model: SmallModel = SMALL_MODELS["qwen3"]
    whole = merge_files([parse_file(write_small_model(tmp_path / "whole.gguf", model))])
    first = write_small_model(tmp_path / "part.gguf", model, shards=3)
    headers = [parse_file(path) for path in sorted(first.parent.glob("part-*"))]
    assert len(headers) == 3
    facts = merge_files(headers[::-1])
    assert facts.file == str(first)
    assert {t.name for t in facts.tensors} == {t.name for t in whole.tensors}
    assert (facts.parameters, facts.weights_bytes) == (whole.parameters, whole.weights_bytes)
    assert facts.hyperparameters == whole.hyperparameters


@pytest.mark.parametrize(
    ("headers", "words"),
    [
        ([_shard(0, 3), _shard(2, 3)], "split into 3 files; missing: 2."),
        ([_shard(1, 2)], "split into 2 files; missing: 1."),
        ([_shard(0, 2), _shard(0, 2)], "shard number 1 is there twice"),
        ([_shard(0, 2), _shard(2, 2)], "shard number 3 cannot be: there are 2"),
        ([_shard(0, 2), _shard(1, 3)], "of different models: m-1 of 2, m-2 of 3"),
        ([_shard(0, 2, tensors=3), _shard(1, 2)], "should have 3 tensors and have 2"),
        ([_shard(0, 60_000)], "missing: 2, 3, 4, 5, 6, 7, 8, 9 and more"),
    ],
)
def test_shards_that_do_not_belong_together_are_refused(headers: list[Header], words: str) -> None:
    with pytest.raises(ModelMalformed) as caught:
        merge_files(headers)
    assert words in caught.value.message


def test_a_tensor_in_two_shards_is_refused() -> None:
    one, two = _shard(0, 2), _shard(1, 2)
    twice = dataclasses.replace(two, tensors=one.tensors)
    with pytest.raises(ModelMalformed, match="m-2: the tensor t0 is in an earlier shard too"):
        merge_files([one, twice])


def test_an_array_of_another_length_than_layers_is_refused() -> None:
    keys = [
        pair("general.architecture", STRING, "jamba"),
        pair("jamba.block_count", U32, 4),
        array("jamba.attention.head_count_kv", U32, bytes(12), 3),
    ]
    with pytest.raises(ModelMalformed, match="head_count_kv has 3 elements for 4 layers"):
        merge_files([parse_bytes(Raw(keys=keys).build())])


def test_an_absurd_number_of_layers_makes_no_array_of_that_length() -> None:
    keys = [
        pair("general.architecture", STRING, "llama"),
        pair("llama.block_count", U32, 2**32 - 1),
        strings("tokenizer.ggml.tokens", ["a"]),
    ]
    sizes = merge_files([parse_bytes(Raw(keys=keys).build())]).hyperparameters
    assert sizes.layers == 2**32 - 1
    assert len(sizes.attention.heads_per_layer) == 512
