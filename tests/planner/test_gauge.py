"""The measures: llama.cpp asked once for each runtime, and carried over to other quantizations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from localserve.catalog.headers import Headers, read_local
from localserve.planner import gauge
from localserve.planner.dry_run import Refused
from localserve.planner.formula import estimate
from localserve.planner.gauge import DryRuns, Sibling, extrapolated
from localserve.planner.runtime import Runtime
from localserve.planner.usage import MemoryUsage
from tests.planner.real_shapes import SHAPES, write_header

RUNTIME = Runtime(8_192, 16, gpu_layers=0)


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Headers]:
    shape = SHAPES["qwen3-0.6b"]
    return {
        kind: read_local(write_header(tmp_path / f"{kind}.gguf", shape, kind, words=False))
        for kind in ("Q4_K_M", "Q8_0")
    }


@pytest.fixture
def asked(files: dict[str, Headers], monkeypatch: pytest.MonkeyPatch) -> list[Runtime]:
    """What llama.cpp was asked about; it counts a tenth more of compute than the formula."""
    asked: list[Runtime] = []

    def dry_run(model: Path, runtimes: Sequence[Runtime]) -> list[MemoryUsage | Refused]:
        assert model.stat().st_size == files["Q4_K_M"].facts.size_bytes
        asked.extend(runtimes)
        return [
            Refused("no such cache")
            if runtime.cache_type_v == "q4_0"
            else _more(estimate(files["Q4_K_M"].facts, runtime))
            for runtime in runtimes
        ]

    monkeypatch.setattr(gauge, "dry_run", dry_run)
    return asked


def _more(usage: MemoryUsage) -> MemoryUsage:
    devices = [replace(one, compute_bytes=one.compute_bytes * 11 // 10) for one in usage.devices]
    return replace(usage, devices=tuple(devices))


def test_each_runtime_is_asked_for_once(files: dict[str, Headers], asked: list[Runtime]) -> None:
    other = replace(RUNTIME, context_tokens=4_096)
    with DryRuns(files["Q4_K_M"].files) as dry:
        first = dry.measure([RUNTIME, other, RUNTIME])
        assert dry.measure([other]) == [first[1]]
    assert asked == [RUNTIME, other]
    assert first[0] == first[2] != first[1]


def test_hollow_files_are_gone_afterwards(files: dict[str, Headers], asked: list[Runtime]) -> None:
    with DryRuns(files["Q4_K_M"].files) as dry:
        dry.measure([RUNTIME])
        hollow = dry._file()
        assert hollow.exists()
    assert not hollow.parent.exists()


def test_one_dry_run_serves_every_placement_and_quantization(
    files: dict[str, Headers], asked: list[Runtime]
) -> None:
    facts = files["Q8_0"].facts
    with DryRuns(files["Q4_K_M"].files) as dry:
        measure = Sibling(dry, files["Q4_K_M"].facts, ()).measure_of(facts)
        (usage, again) = measure([RUNTIME, replace(RUNTIME, gpu_layers=7)])
        assert isinstance(usage, MemoryUsage)
        thought = estimate(facts, RUNTIME)
        assert usage.weights_bytes == thought.weights_bytes
        assert usage.compute_bytes == pytest.approx(thought.compute_bytes * 1.1, rel=1e-6)
        assert again == usage
        assert measure([replace(RUNTIME, cache_type_v="q4_0")]) == [Refused("no such cache")]
    assert len(asked) == 2


def test_what_is_known_of_one_runtime_corrects_guesses_at_others(files: dict[str, Headers]) -> None:
    facts = files["Q8_0"].facts
    longer = replace(RUNTIME, context_tokens=16_384)
    (guess,) = extrapolated(facts, RUNTIME, _more(estimate(facts, RUNTIME)), ())([longer])
    assert isinstance(guess, MemoryUsage)
    thought = estimate(facts, longer)
    assert guess.compute_bytes == pytest.approx(thought.compute_bytes * 1.1, rel=1e-6)
    assert guess.cache_bytes == thought.cache_bytes
