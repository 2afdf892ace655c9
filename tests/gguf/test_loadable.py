"""What is refused although its form is right: no language models, and what ends llama.cpp."""

from __future__ import annotations

import dataclasses
import struct
from pathlib import Path

import pytest

from localserve.errors import ModelMalformed, ModelUnusable
from localserve.gguf import loadable
from localserve.gguf.architectures import ARCHITECTURES, KNOWN_AS_OF
from localserve.gguf.facts import GgufFacts, merge_files
from localserve.gguf.header import parse_file
from localserve.gguf.loadable import check_loadable
from localserve.gguf.vocabulary import vocabulary_problems
from localserve.gguf.weights import tensor_problems
from tests.gguf.raw import (
    BOOL,
    I32,
    STRING,
    U32,
    Raw,
    array,
    pair,
    parse_bytes,
    strings,
    tensor,
)
from tests.gguf.small_models import SMALL_MODELS, Value, write_small_model


def _made(*keys: bytes, tensors: list[bytes] | None = None) -> GgufFacts:
    raw = Raw(keys=list(keys)) if tensors is None else Raw(keys=list(keys), tensors=tensors)
    return merge_files([parse_bytes(raw.build())])


def _architecture(name: str) -> bytes:
    return pair("general.architecture", STRING, name)


@pytest.mark.parametrize("name", SMALL_MODELS)
def test_good_models_pass(name: str, tmp_path: Path) -> None:
    path = write_small_model(tmp_path / "m.gguf", SMALL_MODELS[name])
    check_loadable(merge_files([parse_file(path)]))


@pytest.mark.parametrize(
    ("facts", "what"),
    [
        (
            _made(_architecture("llama"), pair("general.type", STRING, "adapter")),
            "an adapter (LoRA)",
        ),
        (_made(_architecture("llama"), pair("adapter.type", STRING, "lora")), "an adapter (LoRA)"),
        (_made(_architecture("clip")), "a projector for images or sound (mmproj)"),
        (_made(_architecture("llama"), pair("general.type", STRING, "mmproj")), "a projector"),
        (_made(pair("general.type", STRING, "imatrix")), "an importance matrix"),
        (_made(_architecture("controlvector")), "a control vector"),
        (_made(_architecture("eagle3")), "a draft model (eagle3)"),
        (_made(_architecture("qwen3tts")), "a model of speech (qwen3tts)"),
        (
            _made(_architecture("llama"), strings("tokenizer.ggml.tokens", ["a"]), tensors=[]),
            "a vocabulary without weights",
        ),
        (_made(_architecture("llama"), tensors=[]), "a GGUF file without any tensor"),
        (
            _made(_architecture("llama"), pair("tokenizer.ggml.model", STRING, "no_vocab")),
            "a model without a vocabulary",
        ),
    ],
)
def test_other_kinds_of_files_are_named(facts: GgufFacts, what: str) -> None:
    with pytest.raises(ModelUnusable) as caught:
        check_loadable(facts)
    assert caught.value.message.startswith(f"made.gguf is {what}")
    assert caught.value.message.endswith(", not a language model.")


def test_an_unknown_architecture_needs_a_newer_llama_cpp(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loadable, "version", lambda name: "0.3.36")
    with pytest.raises(ModelUnusable) as caught:
        check_loadable(_made(_architecture("llama9")))
    assert "the architecture 'llama9' needs a newer llama.cpp" in caught.value.message
    assert "llama-cpp-python 0.3.36" in caught.value.message
    assert "pip install --upgrade llama-cpp-python" in caught.value.hint


def test_a_newer_llama_cpp_is_asked_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    newer = ".".join(map(str, (*KNOWN_AS_OF[:2], KNOWN_AS_OF[2] + 1)))
    monkeypatch.setattr(loadable, "version", lambda name: newer)
    with pytest.raises(ModelMalformed, match="block_count"):  # past the check of its name
        check_loadable(_made(_architecture("llama9")))


def test_a_diffusion_model_is_refused() -> None:
    with pytest.raises(ModelUnusable, match="llada model does not write one token after the other"):
        check_loadable(_made(_architecture("llada")))


def test_a_file_without_an_architecture_is_malformed() -> None:
    with pytest.raises(ModelMalformed, match=r"general\.architecture is missing"):
        check_loadable(_made(pair("general.name", STRING, "a")))


@pytest.mark.parametrize(
    ("name", "keys", "words"),
    [
        ("llama", {"context_length": 0}, "its context_length is 0"),
        ("llama", {"embedding_length": 0}, "its embedding_length is 0"),
        ("llama", {"nextn_predict_layers": 3}, "3 of its 3 layers only predict"),
        ("llama", {"attention.layer_norm_rms_epsilon": float("inf")}, "epsilon is inf"),
        ("llama", {"attention.layer_norm_rms_epsilon": -1.0}, "epsilon is -1.0"),
        ("llama", {"rope.dimension_count": 7}, "7 of 16 numbers per head"),
        ("gemma3", {"rope.dimension_count": 0}, "0 of 32 numbers per head"),
        ("gemma3", {"attention.sliding_window": 1 << 30}, "window of 1073741824 tokens is past"),
        ("gemma3", {"attention.sliding_window_pattern": 1}, "no layer that uses it"),
        ("llama4", {"attention.sliding_window_pattern": 1}, "8192 tokens and no layer"),
        ("llama4", {"attention.sliding_window": 0}, "sliding_window is 0"),
        ("mixtral", {"expert_group_count": 3}, "8 experts do not divide into 3 groups"),
        ("mixtral", {"expert_group_count": 4}, "0 of its 4 expert groups are used"),
        ("deepseek2", {"expert_gating_func": 9}, "expert_gating_func is 9"),
        ("bert", {"pooling_type": 77}, "pooling_type is 77; llama.cpp knows 0 to 4"),
        ("llama", {"attention.head_count_kv": 3}, "4 heads do not divide into 3 key-value"),
        ("qwen2", {"attention.value_length": 8}, "keys are 16 and its values 8 long"),
        ("phi3", {"attention.key_length": 8, "attention.value_length": 8}, "4 heads of 8 are not"),
        ("lfm2", {"shortconv.l_cache": 1}, "shortconv.l_cache is 1"),
        ("rwkv7", {"wkv.head_size": 48}, "does not divide into heads of 48"),
        ("rwkv7", {"wkv.head_size": 32}, "wkv.head_size is 32; llama.cpp needs a multiple of 64"),
        ("mixtral", {"expert_used_count": [2, 2, 4]}, "layers use from 2 to 4 experts"),
        ("deepseek2", {"attention.head_count_kv": [1, 1, 2]}, "layers have 1, 2 key-value heads"),
        ("llama", {"attention.head_count_kv": [4, 4, 2]}, "blk.2.attn_k.weight has 64 rows"),
        ("phi3", {"attention.head_count_kv": [4, 4, 0]}, "blk.2.attn_qkv.weight has 192 rows"),
        ("falcon-h1", {"attention.head_count_kv": [2, 2, 0]}, "blk.2.attn_k.weight has 32 rows"),
        ("mamba2", {"ssm.group_count": 0}, "does not divide into 0 groups"),
    ],
)
def test_contradictions_are_refused_with_their_numbers(
    name: str, keys: dict[str, Value], words: str, tmp_path: Path
) -> None:
    model = SMALL_MODELS[name]
    model = dataclasses.replace(model, keys={**model.keys, **keys})
    path = write_small_model(tmp_path / "m.gguf", model)
    with pytest.raises(ModelMalformed) as caught:
        check_loadable(merge_files([parse_file(path)]))
    assert words in caught.value.message
    assert caught.value.message.startswith(f"{path}: ")


def test_weights_in_a_type_of_no_use_are_refused() -> None:
    path_keys = (_architecture("gpt2"), pair("gpt2.rope.scaling.type", STRING, "none"))
    facts = _made(*path_keys, tensors=[tensor("token_embd.weight", (8, 4), 26)])
    with pytest.raises(ModelMalformed, match="block_count"):
        check_loadable(facts)
    problems = list(tensor_problems(facts))
    assert problems == ["the weights token_embd.weight are stored as I32, which has no use."]
    for name in ("attn_norm.weight", "attn_norm_2.weight", "time_mix_w0.weight", "ssm_a"):
        half = _made(*path_keys, tensors=[tensor(f"blk.0.{name}", (32,), 1)])
        assert "computes it as F32 only" in next(tensor_problems(half))
    table = _made(*path_keys, tensors=[tensor("blk.0.ffn_gate_tid2eid.weight", (8, 4), 26)])
    assert list(tensor_problems(table)) == []


@pytest.mark.parametrize(
    ("name", "tensor_name", "words"),
    [
        ("phi3", "blk.1.attn_qkv.weight", "layer 1 lacks attn_qkv.weight or attn_k.weight and"),
        ("falcon-h1", "blk.0.ssm_conv1d.bias", "layer 0 lacks ssm_conv1d.bias"),
        ("qwen3next", "blk.2.attn_gate.weight", "layer 2 lacks attn_gate.weight and attn_qkv"),
    ],
)
def test_tensors_that_only_seem_optional_are_missed(
    name: str, tensor_name: str, words: str, tmp_path: Path
) -> None:
    model = SMALL_MODELS[name]
    tensors = {name: shape for name, shape in model.tensors.items() if name != tensor_name}
    path = write_small_model(tmp_path / "m.gguf", dataclasses.replace(model, tensors=tensors))
    with pytest.raises(ModelMalformed) as caught:
        check_loadable(merge_files([parse_file(path)]))
    assert words in caught.value.message


def _vocabulary(model: str, words: list[str], *more: bytes) -> list[str]:
    name = pair("tokenizer.ggml.model", STRING, model)
    words_key = strings("tokenizer.ggml.tokens", words)
    return list(vocabulary_problems(_made(_architecture("llama"), name, words_key, *more)))


def test_empty_tokens_are_not_the_same_token() -> None:
    assert _vocabulary("gpt2", ["", "", "a"]) == []
    assert _vocabulary("gpt2", ["", "[EMPTY_0]"]) == [
        "tokens 0 and 1 of its vocabulary are the same: b'[EMPTY_0]'."
    ]


def test_a_sentencepiece_vocabulary_has_a_token_for_each_byte() -> None:
    all_bytes = [f"<0x{byte:02X}>" for byte in range(256)]
    assert _vocabulary("llama", ["<s>", *all_bytes]) == []
    with_letter = [word for word in all_bytes if word != "<0x41>"]
    assert _vocabulary("llama", [*with_letter, "A"]) == []
    assert _vocabulary("llama", with_letter) == ["its vocabulary has no token for the byte 0x41."]
    assert _vocabulary("gpt2", with_letter) == []


def test_an_rwkv_vocabulary_has_each_byte_that_begins_a_word() -> None:
    assert _vocabulary("rwkv", ["a", "\\n", "\\x80", "\\\\", "abc", "\\n\\n", "\\x80\\x81"]) == []
    assert _vocabulary("rwkv", ["<s>", "a"]) == [
        "token 0 begins with the byte 0x3c, which is no token itself."
    ]


@pytest.mark.parametrize(("model", "word"), [("gpt2", "<0"), ("llama", "x"), ("bert", "<0x41>")])
def test_a_byte_token_is_written_as_one(model: str, word: str) -> None:
    types = array("tokenizer.ggml.token_type", I32, struct.pack("<2i", 1, 6), 2)
    assert _vocabulary(model, ["a", word], types) == [
        f"token 1 of its vocabulary stands for a byte and reads {word.encode()!r}."
    ]
    if model != "bert":
        assert not any("stands for" in it for it in _vocabulary(model, ["a", "<0x41>"], types))


def test_a_first_token_that_every_text_needs_is_there() -> None:
    add = pair("tokenizer.ggml.add_bos_token", BOOL, True)
    said = "every text begins with its bos_token_id, which is"
    assert _vocabulary("t5", ["a"], add) == [f"{said} missing."]
    bos = pair("tokenizer.ggml.bos_token_id", U32, 7)
    assert _vocabulary("gemma4", ["a"], bos) == [f"{said} 7 of 1."]
    glm = pair("tokenizer.ggml.pre", STRING, "glm4")
    assert _vocabulary("gpt2", ["a"], glm, add) == [f"{said} missing."]
    assert _vocabulary("gpt2", ["a"], glm) == _vocabulary("gpt2", ["a"], add) == []


def test_the_builtin_model_passes() -> None:
    import localserve.catalog

    folder = Path(next(iter(localserve.catalog.__path__)))
    check_loadable(merge_files([parse_file(folder / "builtin.gguf")]))


def test_every_architecture_of_the_list_is_in_the_llama_cpp_that_is_installed() -> None:
    import llama_cpp

    folder = Path(llama_cpp.__file__).parent / "lib"
    library = next(folder.glob("*llama.*"), None) or next(folder.glob("llama.*"))
    content = library.read_bytes()
    assert [name for name in ARCHITECTURES if b"%s\0" % name.encode() not in content] == []
