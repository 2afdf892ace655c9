"""Loading good and damaged files. Damaged ones in a child, which llama.cpp may abort."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from localserve.errors import ModelUnusable
from localserve.llama.model import LlamaModel
from localserve.planner.runtime import Runtime

RUNTIME = Runtime(context_tokens=0, sequences=1)

LOAD = """
import pathlib, sys
from localserve.errors import ModelUnusable
from localserve.llama.model import LlamaModel
from localserve.planner.runtime import Runtime
try:
    LlamaModel(pathlib.Path(sys.argv[1]), Runtime(0, 1))
except ModelUnusable as error:
    print("unusable:", error)
else:
    print("loaded")
"""


def load_in_a_child(path: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", LOAD, str(path)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_a_model_says_what_its_file_says(tiny_f16: Path) -> None:
    shares: list[float] = []

    def note(share: float) -> bool:
        shares.append(share)
        return True

    model = LlamaModel(tiny_f16, RUNTIME, note)
    assert (model.architecture, model.embedding_length) == ("qwen3", 256)
    assert (model.trained_context_tokens, model.window_tokens) == (40_960, 0)
    assert (model.recurrent, model.generates) == (False, True)
    assert model.chat_template is not None
    assert "<|im_start|>" in model.chat_template
    assert model.metadata("no.such.key") is None
    assert model.architecture == "qwen3"
    assert shares[-1] == 1.0
    model.close()
    model.close()


@pytest.mark.skipif(sys.platform != "linux", reason="there such names are refused")
def test_a_file_whose_name_is_no_text_is_loaded(tiny_f16: Path, tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"bad-\xff.gguf")
    path.hardlink_to(tiny_f16)
    LlamaModel(path, RUNTIME).close()


def test_a_load_that_is_no_longer_wanted_stops(tiny_f16: Path) -> None:
    with pytest.raises(ModelUnusable):
        LlamaModel(tiny_f16, RUNTIME, lambda share: False)


def test_a_missing_file_is_unusable(tmp_path: Path) -> None:
    with pytest.raises(ModelUnusable, match=r"missing\.gguf"):
        LlamaModel(tmp_path / "missing.gguf", RUNTIME)


def test_a_folder_is_unusable(tmp_path: Path) -> None:
    with pytest.raises(ModelUnusable):
        LlamaModel(tmp_path, RUNTIME)


@pytest.mark.parametrize(
    "damage",
    [
        "empty",
        "noise",
        "magic only",
        "cut in the header",
        "cut in the tensors",
        "counts beyond reason",
        "another architecture",
    ],
)
def test_a_damaged_file_is_unusable(damage: str, tiny_f16: Path, tmp_path: Path) -> None:
    raw = tiny_f16.read_bytes()
    path = tmp_path / "damaged.gguf"
    path.write_bytes(
        {
            "empty": b"",
            "noise": np.random.default_rng(1).bytes(100_000),
            "magic only": raw[:4],
            "cut in the header": raw[:2_000],
            "cut in the tensors": raw[: len(raw) * 2 // 3],
            "counts beyond reason": raw[:8] + b"\xff" * 16 + raw[24:],
            "another architecture": raw.replace(b"qwen3", b"qwenX"),
        }[damage]
    )
    child = load_in_a_child(path)
    assert child.returncode == 0, child.stderr[-500:]
    assert child.stdout.startswith("unusable:")
    assert "damaged.gguf" in child.stdout


def test_a_good_file_loads_in_such_a_child(tiny_f16: Path) -> None:
    assert load_in_a_child(tiny_f16).stdout == "loaded\n"
