"""What our header reader says, held against llama.cpp: same sizes, and it dies where we refuse."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from gguf import GGMLQuantizationType, GGUFWriter

from localserve.errors import ModelMalformed
from localserve.gguf.facts import merge_files
from localserve.gguf.header import parse_file
from localserve.gguf.hollow import write_hollow
from localserve.gguf.loadable import check_loadable
from localserve.llama.model import LlamaModel
from localserve.planner.runtime import Runtime
from tests.gguf import small_models
from tests.gguf.small_models import SMALL_MODELS, Value, write_small_model

ROOT = Path(__file__).parents[2]


def load_in_a_child(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.llama.load_child", *arguments]
    environ = os.environ | {"GGML_NO_BACKTRACE": "1"}
    return subprocess.run(
        command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=120, check=False
    )


def said_in_a_child(*arguments: str) -> list[dict[str, object]]:
    child = load_in_a_child(*arguments)
    assert child.returncode == 0, child.stderr[-500:]
    return [json.loads(line) for line in child.stdout.splitlines()]


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    """Every small model, some of them quantized and split as well."""
    folder = tmp_path_factory.mktemp("small")
    paths = {
        name: write_small_model(folder / f"{name}.gguf", model)
        for name, model in SMALL_MODELS.items()
    }
    for kind in (GGMLQuantizationType.Q8_0, GGMLQuantizationType.Q4_0):
        for name in ("llama", "gemma3", "qwen3moe", "mamba2"):
            path = folder / f"{name}-{kind.name}.gguf"
            paths[path.stem] = write_small_model(path, SMALL_MODELS[name], kind)
    split = write_small_model(folder / "split.gguf", SMALL_MODELS["qwen3"], shards=3)
    return paths | {"split": split}


def test_small_models_load_and_run_and_have_the_sizes_that_their_headers_say(
    paths: Mapping[str, Path],
) -> None:
    said = said_in_a_child(*map(str, paths.values()))
    assert len(said) == len(paths) >= 25
    for name, found in zip(paths, said, strict=True):
        assert found["loaded"], name
        assert found["decoded"] == 0, name
        headers = [parse_file(path) for path in _files_of(paths[name])]
        facts = merge_files(headers)
        check_loadable(facts)
        sizes = facts.hyperparameters
        recurrence = sizes.recurrence
        partly = recurrence is not None and any(sizes.attention.heads_per_layer)
        assert {
            "parameters": facts.parameters,
            "weights_bytes": facts.weights_bytes,
            "layers": sizes.layers,
            "embedding_length": sizes.embedding_length,
            "heads": sizes.attention.heads(0),
            "kv_heads": sizes.attention.kv_heads(0),
            "window": sizes.attention.sliding_window or 0,
            "recurrent": recurrence is not None and not partly,
            "hybrid": partly,
        }.items() <= found.items(), name


def test_hollow_files_load_as_the_real_ones_do(paths: Mapping[str, Path], tmp_path: Path) -> None:
    hollow = []
    for name in ("llama", "deepseek2", "split"):
        folder = tmp_path / name
        folder.mkdir()
        headers = [parse_file(path) for path in _files_of(paths[name])]
        hollow.append(str(write_hollow(headers, folder)))
    real = said_in_a_child(*(str(paths[name]) for name in ("llama", "deepseek2", "split")))
    for ours, theirs in zip(said_in_a_child("--hollow", *hollow), real, strict=True):
        left_out = {"path", "name", "decoded"}
        assert {k: v for k, v in ours.items() if k not in left_out} == {
            k: v for k, v in theirs.items() if k not in left_out
        }


ENDINGS: list[tuple[str, dict[str, Value], str]] = [
    ("llama", {"block_count": 0}, "0 layers"),
    ("llama", {"block_count": 100_000}, "100000 layers"),
    ("llama", {"nextn_predict_layers": 9}, "9 of its 3 layers"),
    ("mixtral", {"expert_count": 100_000}, "100000 experts"),
    ("mixtral", {"expert_used_count": 9}, "9 of its 8 experts"),
    ("mixtral", {"expert_used_count": 0}, "0 of its 8 experts"),
    ("mixtral", {"expert_group_count": 3}, "into 3 groups"),
    ("llama", {"rope.scaling.type": "spiral"}, "'spiral'"),
    ("qwen3next", {"full_attention_interval": 0}, "full_attention_interval is 0"),
    ("qwen3next", {"ssm.inner_size": 64}, "ssm.inner_size 64"),
    ("jamba", {"ssm.inner_size": 64}, "ssm.inner_size 64"),
    ("deepseek2", {"rope.dimension_count": 32}, "rope.dimension_count 32"),
    ("deepseek2", {"attention.key_length": 64}, "cached key of 64"),
    ("deepseek2", {"expert_gating_func": 9}, "expert_gating_func is 9"),
    ("bert", {"attention.key_length": 32}, "keys are 32"),
    ("gemma3", {"rope.dimension_count": 64}, "64 of 32 numbers"),
    ("gemma3", {"attention.sliding_window_pattern": 1}, "no layer that uses it"),
    ("llama", {"attention.layer_norm_rms_epsilon": float("nan")}, "epsilon is nan"),
]


@pytest.mark.parametrize(("name", "keys", "words"), ENDINGS)
def test_what_ends_llama_cpp_is_refused_before(
    name: str, keys: dict[str, Value], words: str, tmp_path: Path
) -> None:
    model = SMALL_MODELS[name]
    model = dataclasses.replace(model, keys={**model.keys, **keys})
    _assert_only_we_survive(write_small_model(tmp_path / "bad.gguf", model), words)


def test_a_token_that_is_there_twice_is_refused_before_it_ends_llama_cpp(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_token_list = GGUFWriter.add_token_list

    def with_a_double(writer: GGUFWriter, tokens: list[str]) -> None:
        add_token_list(writer, [*tokens[:9], tokens[3], *tokens[10:]])

    monkeypatch.setattr(GGUFWriter, "add_token_list", with_a_double)
    path = write_small_model(tmp_path / "bad.gguf", SMALL_MODELS["llama"])
    _assert_only_we_survive(path, "tokens 3 and 9 of its vocabulary are the same")


def test_a_quantized_norm_is_refused_before_it_ends_llama_cpp(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(small_models, "_is_weight_matrix", lambda name, shape: True)
    kind = GGMLQuantizationType.Q8_0
    path = write_small_model(tmp_path / "bad.gguf", SMALL_MODELS["llama"], kind)
    _assert_only_we_survive(path, "output_norm.weight is Q8_0; llama.cpp computes it as F32")


def _assert_only_we_survive(path: Path, words: str) -> None:
    child = load_in_a_child(str(path))
    assert child.returncode in (-signal.SIGABRT, -signal.SIGFPE), child.stdout
    with pytest.raises(ModelMalformed) as caught:
        LlamaModel(path, Runtime(256, 1))  # in this very process
    assert words in caught.value.message
    assert str(path) in caught.value.message


def _files_of(path: Path) -> list[Path]:
    if "-00001-of-" not in path.name:
        return [path]
    return sorted(path.parent.glob(path.name.replace("-00001-", "-*-")))
