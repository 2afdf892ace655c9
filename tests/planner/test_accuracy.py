"""What is predicted from headers against what llama.cpp takes, over many architectures."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from statistics import median

import pytest
from gguf import GGMLQuantizationType

from localserve.catalog.headers import read_local
from localserve.gguf.hollow import write_hollow
from localserve.planner.dry_run import dry_run
from localserve.planner.formula import estimate
from localserve.planner.runtime import Runtime
from localserve.planner.usage import MemoryUsage
from tests.gguf.small_models import SMALL_MODELS, write_small_model
from tests.planner.real_loads import load_all
from tests.planner.real_shapes import SHAPES, write_header

RUNTIME = Runtime(context_tokens=2_048, sequences=6)
WIDE_HEADS = ("gemma2", "gemma3", "gpt-oss", "qwen3next")
"""Models whose heads are long enough for a quantized cache."""

CASES = [(name, RUNTIME) for name in (*SMALL_MODELS, "split")] + [
    (name, replace(RUNTIME, cache_type_k="q8_0", cache_type_v="q8_0")) for name in WIDE_HEADS
]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """All small models, with repacked weights where the CPU has a layout of its own for them."""
    folder = tmp_path_factory.mktemp("architectures")
    kind = GGMLQuantizationType.Q4_0
    files = {
        name: write_small_model(folder / f"{name}.gguf", model, kind)
        for name, model in SMALL_MODELS.items()
    }
    return files | {"split": write_small_model(folder / "split", SMALL_MODELS["llama"], kind, 3)}


@pytest.fixture(scope="module")
def dried(files: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> list[MemoryUsage]:
    """What the headers alone predict, in the order of the cases."""
    found = []
    for name, runtime in CASES:
        folder = tmp_path_factory.mktemp("hollow")
        (answer,) = dry_run(write_hollow(read_local(files[name]).files, folder), [runtime])
        assert isinstance(answer, MemoryUsage), answer
        found.append(answer)
    return found


def test_a_header_predicts_the_memory_of_every_architecture(
    files: dict[str, Path], dried: list[MemoryUsage]
) -> None:
    taken = load_all([(files[name], runtime) for name, runtime in CASES])
    errors = {
        f"{name} {runtime.cache_type_k}": abs(predicted.total_bytes / real.total_bytes - 1)
        for (name, runtime), predicted, real in zip(CASES, dried, taken, strict=True)
    }
    assert median(errors.values()) <= 0.01, errors
    assert max(errors.values()) <= 0.05, errors


def test_the_formula_knows_weights_and_cache_of_every_architecture(
    files: dict[str, Path], dried: list[MemoryUsage]
) -> None:
    for (name, runtime), predicted in zip(CASES, dried, strict=True):
        by_hand = estimate(read_local(files[name]).facts, runtime)
        assert by_hand.weights_bytes == pytest.approx(predicted.weights_bytes, rel=0.001), name
        assert by_hand.cache_bytes == pytest.approx(predicted.cache_bytes, rel=0.001), name


@pytest.mark.parametrize("name", SHAPES)
def test_the_formula_is_within_a_percent_at_real_sizes(name: str, tmp_path: Path) -> None:
    path = write_header(tmp_path / "model.gguf", SHAPES[name], "Q4_K_M")
    runtimes = [Runtime(8_192, 8), Runtime(32_768, 2, cache_type_k="q8_0", cache_type_v="q8_0")]
    for runtime, dried in zip(runtimes, dry_run(path, runtimes), strict=True):
        assert isinstance(dried, MemoryUsage), dried
        by_hand = estimate(read_local(path).facts, runtime)
        assert by_hand.total_bytes == pytest.approx(dried.total_bytes, rel=0.01)
