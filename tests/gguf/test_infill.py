"""Which vocabularies can fill in the middle."""

from __future__ import annotations

import pytest

from localserve.errors import ModelMalformed
from localserve.gguf.infill import fills_middle
from tests.gguf.raw import STRING, U32, Raw, pair, parse_bytes, strings

KEYS = ["fim_pre", "fim_suf", "fim_mid"]
QWEN = ["<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"]
DEEPSEEK = ["<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>"]
LLAMA = ["▁<PRE>", "▁<SUF>", "▁<MID>"]


def fills(*keys: bytes, words: list[str] | None = None) -> bool:
    raw = Raw()
    raw.keys += [*keys, strings("tokenizer.ggml.tokens", words or ["a", "b"])]
    return fills_middle(parse_bytes(raw.build()).metadata)


@pytest.mark.parametrize("words", [QWEN, DEEPSEEK, LLAMA, [*QWEN[:2], "<fim-middle>"]])
def test_by_the_texts_of_all_three_tokens(words: list[str]) -> None:
    assert fills(words=["a", *words])
    for missing in words:
        assert not fills(words=["a", *(word for word in words if word != missing)])


def test_mistral_s_models_mark_no_middle() -> None:
    assert fills(words=["a", "[PREFIX]", "[SUFFIX]"])
    assert not fills(words=["a", "[SUFFIX]"])


@pytest.mark.parametrize("names", [KEYS, ["prefix", "suffix", "middle"]])
def test_by_keys(names: list[str]) -> None:
    keys = [pair(f"tokenizer.ggml.{name}_token_id", U32, 1) for name in names]
    assert fills(*keys)
    assert not fills(*keys[:2])
    assert fills(*keys[:2], words=["a", QWEN[2]])


def test_without_a_vocabulary_there_is_no_middle() -> None:
    assert not fills_middle(parse_bytes(Raw().build()).metadata)


def test_a_key_of_the_wrong_type_is_named() -> None:
    with pytest.raises(ModelMalformed, match="fim_pre_token_id"):
        fills(pair("tokenizer.ggml.fim_pre_token_id", STRING, "x"))
