"""`localserve up` without a name, on a disk where another program has models."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.catalog.gguf_files import write_gguf
from tests.e2e.conftest import Start
from tests.gguf.small_models import SMALL_MODELS, write_small_model

pytestmark = pytest.mark.e2e


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """Nothing is named, and LM Studio is the only other program here."""
    return {
        "LOCALSERVE_MODEL": "",
        "HOME": str(tmp_path),
        "HF_HUB_CACHE": str(tmp_path / "hub"),
        "LLAMA_CACHE": str(tmp_path / "llama"),
        "OLLAMA_MODELS": str(tmp_path / "ollama"),
        "LOCALSERVE_LM_STUDIO_MODELS_DIR": str(tmp_path / "lm-studio"),
    }


def test_the_model_of_another_program_is_served_and_its_use_remembered(
    start: Start, tmp_path: Path, environ: dict[str, str], tiny_q4_k_m: Path
) -> None:
    path = tmp_path / "lm-studio" / "o" / "r" / "random-Q4_K_M.gguf"
    path.parent.mkdir(parents=True)
    path.symlink_to(tiny_q4_k_m)
    server = start(environ=environ)
    assert server.wait_for_line(r"serving random-Q4_K_M .*from LM Studio")
    assert server.get("/v1/models").json()["data"][0]["id"] == "random-Q4_K_M"
    assert server.wait_for_line(rf"file +{path}")
    assert str(path) in json.loads((tmp_path / "cache" / "last-used.json").read_text())


def test_a_model_that_cannot_be_loaded_is_replaced_by_the_built_in_one(
    start: Start, tmp_path: Path, environ: dict[str, str]
) -> None:
    folder = tmp_path / "lm-studio" / "o" / "r"
    folder.mkdir(parents=True)
    model = SMALL_MODELS["llama"]  # its header is in order; llama.cpp alone knows better
    wrong = replace(model, tensors={**model.tensors, "blk.0.ffn_up.weight": (32, 32)})
    write_small_model(folder / "misshapen.gguf", wrong)
    server = start(environ=environ)
    assert server.wait_for_line(r"misshapen was not named by you and cannot be loaded")
    answer = server.post("/v1/completions", {"prompt": "once", "max_tokens": 1})
    assert answer.json()["model"] == "localserve-tiny"


def test_a_named_model_that_cannot_be_loaded_is_not_replaced(
    start: Start, tmp_path: Path, environ: dict[str, str]
) -> None:
    write_gguf(tmp_path / "lm-studio" / "o" / "r" / "cut-off.gguf")
    server = start("cut-off", environ=environ)
    assert server.wait() == 1
    assert "serving" not in server.output


def test_programs_that_read_the_list_see_the_same(tmp_path: Path, environ: dict[str, str]) -> None:
    import os

    write_gguf(tmp_path / "lm-studio" / "o" / "r" / "a.gguf")
    done = subprocess.run(
        [sys.executable, "-m", "localserve", "list", "--json"],
        env={**os.environ, **environ, "LOCALSERVE_HOME": str(tmp_path)},
        capture_output=True,
        check=True,
    )
    names = [model["name"] for model in json.loads(done.stdout)["models"]]
    assert names == ["a", "localserve-tiny"]
