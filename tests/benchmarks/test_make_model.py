"""A tiny random model is a file that llama.cpp loads and goes on answering with."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf import GGUFReader

from benchmarks.make_model import WeightType, default_path, make_model
from benchmarks.shapes import SHAPES, ShapeName
from benchmarks.vocabulary import build_vocabulary

TINY = SHAPES[ShapeName.TINY]
PROMPT = "<|im_start|>user\nab cd ef<|im_end|>\n<|im_start|>assistant\n"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the tiny model in each type, made as a user makes it, by a child."""
    folder = tmp_path_factory.mktemp("models")
    for weight_type in WeightType:
        path = folder / f"{weight_type}.gguf"
        command = [sys.executable, "-m", "benchmarks.make_model", str(path)]
        subprocess.run([*command, "--shape", "tiny", "--type", weight_type], check=True)
    return folder


def ask_the_raw_loop(model: Path, questions: list[dict[str, Any]]) -> list[dict[str, Any]]:
    settings = ["--ctx", "512", "--parallel", "3", "--threads", "1"]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.raw_loop", str(model), *settings],
        input="".join(json.dumps(question) + "\n" for question in questions),
        capture_output=True,
        text=True,
        check=True,
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize("weight_type", WeightType)
def test_llama_cpp_loads_it_and_never_says_an_end_or_what_is_no_text(
    models: Path, weight_type: WeightType
) -> None:
    asked = [{"prompt": PROMPT, "tokens": 200}] * 2

    ready, first, second = ask_the_raw_loop(models / f"{weight_type}.gguf", asked)

    assert ready == {"ready": True}
    assert first["ids"] == second["ids"]
    assert len(first["ids"]) == first["predicted_n"] == 200
    assert set(first["ids"]) <= set(build_vocabulary(TINY.vocabulary).speakable)
    assert first["prompt_n"] >= 4, "the special tokens and the words"


def test_the_raw_loops_prompts_that_begin_alike_go_on_as_each_alone(models: Path) -> None:
    prompts = [f"{PROMPT} {'ab cd ' * 20}{own}" for own in ("ef", "gh kl", "mn op qr")]
    asked = [{"prompts": prompts, "tokens": 2}, *({"prompt": one, "tokens": 2} for one in prompts)]

    ready, shared, *alone = ask_the_raw_loop(models / "F16.gguf", asked)

    assert ready == {"ready": True}
    assert shared["shared_n"] > 20
    assert shared["ids"] == [one["ids"] for one in alone]


def test_the_file_says_what_a_server_must_know(models: Path) -> None:
    reader = GGUFReader(models / "F16.gguf")

    def read(name: str) -> object:
        field = reader.get_field(name)
        assert field is not None, name
        return field.contents()

    vocabulary = build_vocabulary(TINY.vocabulary)
    assert read("general.architecture") == "qwen3"
    assert read("qwen3.context_length") == 40_960
    assert read("qwen3.rope.freq_base") == 1e6
    assert read("tokenizer.ggml.eos_token_id") == vocabulary.id_of("<|im_end|>")
    assert read("tokenizer.ggml.fim_pre_token_id") == vocabulary.id_of("<|fim_prefix|>")
    assert "<|im_start|>" in str(read("tokenizer.chat_template"))
    tensors = {tensor.name: tensor for tensor in reader.tensors}
    assert "output.weight" not in tensors, "the embedding is tied"
    embedding = tensors["token_embd.weight"].data
    assert not embedding[vocabulary.ordinary :].any(), "special tokens have zero rows"
    assert np.isfinite(embedding).all()


def test_the_same_seed_gives_the_same_file_and_another_seed_another(tmp_path: Path) -> None:
    for name, seed in (("first", 1), ("again", 1), ("other", 2)):
        make_model(tmp_path / name, TINY, WeightType.F16, seed)

    first, again, other = ((tmp_path / name).read_bytes() for name in ("first", "again", "other"))
    assert first == again
    assert first != other
    assert sorted(path.name for path in tmp_path.iterdir()) == ["again", "first", "other"]


def test_a_file_that_is_there_is_used_again(models: Path) -> None:
    path = models / "F16.gguf"
    before = path.stat().st_mtime_ns

    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.make_model", str(path), "--shape", "tiny"],
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout.strip() == str(path)
    assert path.stat().st_mtime_ns == before


def test_models_are_kept_in_localserve_s_cache_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCALSERVE_CACHE_DIR", str(tmp_path))
    assert default_path(TINY, WeightType.F16).parent == tmp_path / "benchmarks"
