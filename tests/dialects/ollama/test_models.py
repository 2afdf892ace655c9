"""What clients are told of models."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from localserve.chat import Sampling
from localserve.dialects.ollama import (
    VERSION,
    Described,
    Running,
    list_fields,
    parse_show,
    running_fields,
    show_fields,
)
from localserve.dialects.ollama.models import count_text
from localserve.errors import InvalidRequest

QWEN = Described(
    name="qwen3-8b",
    size_bytes=5_000_000_000,
    digest="ab" * 32,
    modified_at=1_700_000_000.5,
    architecture="qwen3",
    parameters=8_190_735_360,
    quantization="Q4_K_M",
    context_tokens=8192,
    template="{{ messages }}",
    capabilities=("completion", "tools"),
    sampling=Sampling(temperature=0.6, top_k=20),
    values={
        "general.name": "Qwen3",
        "general.license": "apache-2.0",
        "qwen3.context_length": 40960,
        "qwen3.rope.freq_base": float("nan"),
        "tokenizer.chat_template": "{{ messages }}",
        "tokenizer.ggml.tokens": None,
    },
)


def test_the_version_is_new_enough_for_clients_that_ask() -> None:
    assert tuple(map(int, VERSION.split("."))) >= (0, 6, 4)


def test_a_list_has_every_field_that_clients_check() -> None:
    listed: Any = list_fields([QWEN])
    assert listed == {
        "models": [
            {
                "name": "qwen3-8b",
                "model": "qwen3-8b",
                "modified_at": "2023-11-14T22:13:20.500000Z",
                "size": 5_000_000_000,
                "digest": "ab" * 32,
                "details": {
                    "parent_model": "",
                    "format": "gguf",
                    "family": "qwen3",
                    "families": ["qwen3"],
                    "parameter_size": "8.2B",
                    "quantization_level": "Q4_K_M",
                },
                "removable": False,
            }
        ]
    }


def test_a_model_of_which_nothing_is_known_has_the_fields_all_the_same() -> None:
    listed: Any = list_fields([Described("m", 1, "", 0.0)])
    assert listed["models"][0]["details"] == {
        "parent_model": "",
        "format": "gguf",
        "family": "",
        "families": [],
        "parameter_size": "",
        "quantization_level": "",
    }


def test_one_model_has_the_context_that_requests_may_use() -> None:
    shown: Any = show_fields(QWEN)
    assert shown["model_info"] == {
        "general.architecture": "qwen3",
        "general.parameter_count": 8_190_735_360,
        "general.license": "apache-2.0",
        "qwen3.context_length": 8192,
        "qwen3.rope.freq_base": None,
        "tokenizer.ggml.tokens": None,
    }
    assert [line.split() for line in shown["parameters"].splitlines()] == [
        ["num_ctx", "8192"],
        ["temperature", "0.6"],
        ["top_k", "20"],
    ]
    assert shown["license"] == "apache-2.0"
    assert shown["capabilities"] == ["completion", "tools"]
    assert shown["template"] == "{{ messages }}"
    assert shown["modelfile"].startswith("FROM qwen3-8b\nPARAMETER num_ctx")


def test_clients_find_that_a_model_fills_the_middle_in_its_template() -> None:
    filling: Any = show_fields(replace(QWEN, capabilities=("completion", "insert")))
    assert ".Suffix" in filling["template"]
    assert filling["template"].startswith("{{ messages }}")


def test_loaded_models() -> None:
    running = Running(QWEN, memory_bytes=6_000, gpu_bytes=5_000, expires_at=1_700_000_300)
    (entry, forever) = running_fields([running, replace(running, expires_at=None)])["models"]  # type: ignore[misc]
    assert (entry["size"], entry["size_vram"]) == (6_000, 5_000)
    assert entry["context_length"] == 8192
    assert entry["expires_at"] == "2023-11-14T22:18:20Z"
    assert forever["expires_at"] > "2300"


@pytest.mark.parametrize("body", [b'{"model": "m"}', b'{"name": "m"}', b'{"model":"m","name":"x"}'])
def test_the_name_has_two_fields(body: bytes) -> None:
    assert parse_show(body) == "m"


@pytest.mark.parametrize("body", [b"", b"{}", b'{"model": ""}', b'{"model": 1}'])
def test_a_name_is_needed(body: bytes) -> None:
    with pytest.raises(InvalidRequest):
        parse_show(body)


@pytest.mark.parametrize(
    ("count", "text"),
    [(8_190_735_360, "8.2B"), (22_567_296, "22.57M"), (512_000, "512K"), (12, "12")],
)
def test_counts(count: int, text: str) -> None:
    assert count_text(count) == text
