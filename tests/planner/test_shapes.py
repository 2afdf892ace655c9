"""Facts made of the catalog's numbers, against those of the real shapes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from localserve.catalog.headers import read_local
from localserve.catalog.registry import shipped_registry
from localserve.planner.formula import estimate
from localserve.planner.runtime import Runtime
from localserve.planner.shapes import facts_of, resized
from localserve.planner.speed import predict
from tests.planner.machines import machine
from tests.planner.real_shapes import SHAPES, write_header

RUNTIME = Runtime(8_192, 16)


@pytest.mark.parametrize("name", ["qwen3-0.6b", "qwen3-8b", "llama-3.1-8b", "qwen3-30b-a3b"])
def test_a_shape_stands_in_for_a_header(name: str, tmp_path: Path) -> None:
    spec = shipped_registry().find(name)
    assert spec is not None
    assert spec.shape is not None
    guessed = facts_of(spec, spec.shape, "Q4_K_M")
    path = write_header(tmp_path / "real.gguf", SHAPES[name], "Q4_K_M", words=False)
    real = read_local(path).facts
    for layers in (0, 10, None):
        runtime = replace(RUNTIME, gpu_layers=layers)
        ours, theirs = (estimate(facts, runtime, ("GPU0",)) for facts in (guessed, real))
        assert ours.cache_bytes == theirs.cache_bytes
        assert ours.total_bytes == pytest.approx(theirs.total_bytes, rel=0.1)
        on_gpu = theirs.of("GPU0").total_bytes
        assert ours.of("GPU0").total_bytes == pytest.approx(on_gpu, rel=0.15)
    speeds = [predict(facts, RUNTIME, machine()) for facts in (guessed, real)]
    rates = [speed.decode for speed in speeds if speed is not None]
    assert rates[0] == pytest.approx(rates[1], rel=0.25)


@pytest.mark.parametrize("name", ["gemma-3-12b", "qwen3-30b-a3b"])
def test_a_file_stands_in_for_another_quantization(name: str, tmp_path: Path) -> None:
    here, other = (
        read_local(write_header(tmp_path / f"{kind}.gguf", SHAPES[name], kind, words=False)).facts
        for kind in ("Q4_K_M", "Q8_0")
    )
    guessed = resized(here, "Q8_0", other.size_bytes)
    assert guessed.quantization == other.quantization == "Q8_0"
    assert guessed.weights_bytes == pytest.approx(other.weights_bytes, rel=0.001)
    runtime = replace(RUNTIME, gpu_layers=10)
    ours, theirs = (estimate(facts, runtime, ("GPU0",)) for facts in (guessed, other))
    assert ours.cache_bytes == theirs.cache_bytes
    for device in ("CPU", "GPU0"):
        there = theirs.of(device).total_bytes
        assert ours.of(device).total_bytes == pytest.approx(there, rel=0.1)
    speeds = [predict(facts, RUNTIME, machine()) for facts in (guessed, other)]
    rates = [speed.decode for speed in speeds if speed is not None]
    assert rates[0] == pytest.approx(rates[1], rel=0.06)
