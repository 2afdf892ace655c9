"""How a model is loaded: as planned, on what is free; and what is refused before it is tried."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path
from typing import NoReturn

import pytest

from localserve.backends import placement
from localserve.backends.placement import place_model
from localserve.catalog.headers import read_local
from localserve.config import Settings, read_settings
from localserve.errors import MemoryBusy, ModelTooLarge
from localserve.gguf.facts import GgufFacts
from localserve.planner.hardware import Hardware, probe
from localserve.planner.machine import PROCESS_BYTES, Program
from localserve.planner.plan import Wanted
from localserve.planner.runtime import Runtime
from localserve.planner.verdict import needed_bytes
from tests.planner.recorded import GIB, RecordedReadings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return read_settings({}, {"LOCALSERVE_HOME": str(tmp_path / "home")})


@pytest.fixture
def facts(tiny_q4_k_m: Path) -> GgufFacts:
    return read_local(tiny_q4_k_m).facts


class Host:
    """A machine without GPUs and with so much memory available."""

    def __init__(self, folder: Path, available_bytes: int, total_bytes: int = 8 * GIB) -> None:
        readings = RecordedReadings(folder / "machine")
        readings.memory_amounts = dataclasses.replace(
            readings.memory_amounts, total_bytes=total_bytes, free_bytes=available_bytes
        )
        self._readings = readings

    def __call__(self, settings: Settings) -> Hardware:
        return probe(settings, self._readings)


def never(settings: Settings) -> NoReturn:
    raise AssertionError("the hardware was looked at")


def no_gpu() -> bool:
    return False


def a_gpu() -> bool:
    return True


def test_what_plainly_fits_is_loaded_without_a_look_at_the_hardware(
    tiny_q4_k_m: Path, facts: GgufFacts, settings: Settings
) -> None:
    wanted = Wanted(context_tokens=512, parallel=2, cache_type_k="q8_0")
    placed = place_model(tiny_q4_k_m, facts, "tiny", wanted, settings, no_gpu, never)
    assert placed.runtime == Runtime(512, 4, cache_type_k="q8_0", gpu_layers=0, guess_tokens=63)
    assert placed.backend == "CPU"
    assert placed.predicted.total_bytes > facts.weights_bytes


def test_what_other_programs_hold_is_worth_a_wait_and_they_are_named(
    tiny_q4_k_m: Path,
    facts: GgufFacts,
    settings: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    host = Host(tmp_path, PROCESS_BYTES + (20 << 20))
    monkeypatch.setattr(placement, "big_programs", lambda: (Program("browser", 3 * GIB),))
    wanted = Wanted(context_tokens=40_960)
    with pytest.raises(MemoryBusy, match=r"needs .* MiB of RAM, 27\d MiB are free") as caught:
        place_model(tiny_q4_k_m, facts, "tiny", wanted, settings, a_gpu, host)
    assert "browser (3.0 GiB)" in caught.value.message
    assert "Try again when they have ended." in caught.value.hint


def test_what_the_whole_machine_has_no_memory_for_is_too_large_with_what_would_fit(
    tiny_q4_k_m: Path, facts: GgufFacts, settings: Settings, tmp_path: Path
) -> None:
    room = PROCESS_BYTES + (20 << 20)
    host = Host(tmp_path, room, total_bytes=room + GIB // 2)
    wanted = Wanted(context_tokens=40_960)
    with pytest.raises(ModelTooLarge, match=r"of its 788 MiB models may take 276 MiB") as caught:
        place_model(tiny_q4_k_m, facts, "tiny", wanted, settings, a_gpu, host)
    assert "would fit" in caught.value.hint


def test_what_needs_the_margin_is_tried_with_a_warning(
    tiny_q4_k_m: Path,
    facts: GgufFacts,
    settings: Settings,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    host = Host(tmp_path, PROCESS_BYTES + (200 << 20))
    with caplog.at_level(logging.WARNING):
        placed = place_model(tiny_q4_k_m, facts, "tiny", Wanted(), settings, a_gpu, host)
    assert placed.runtime.gpu_layers == 0
    assert "that is tight" in caplog.text


def test_a_plan_that_fits_is_followed(
    tiny_q4_k_m: Path, facts: GgufFacts, settings: Settings, tmp_path: Path
) -> None:
    host = Host(tmp_path, 6 * GIB)
    placed = place_model(tiny_q4_k_m, facts, "tiny", Wanted(), settings, a_gpu, host)
    assert placed.runtime.context_tokens == 32_768
    assert placed.backend == "CPU"


def test_a_context_is_stretched_only_within_the_bound_on_the_memory_of_models(
    tiny_q4_k_m: Path, facts: GgufFacts, settings: Settings, tmp_path: Path
) -> None:
    stretched = place_model(tiny_q4_k_m, facts, "tiny", Wanted(), settings, no_gpu, never)
    assert stretched.runtime.context_tokens > 8192
    bound = needed_bytes(stretched.predicted) * 3 // 4
    bounded = dataclasses.replace(settings, model_ram_bytes=bound)
    host = Host(tmp_path, 8 * GIB)
    placed = place_model(tiny_q4_k_m, facts, "tiny", Wanted(), bounded, no_gpu, host)
    assert 8192 <= placed.runtime.context_tokens < stretched.runtime.context_tokens
    assert needed_bytes(placed.predicted) <= bound


def test_what_the_bound_on_the_memory_of_models_has_no_room_for_is_too_large(
    tiny_q4_k_m: Path, facts: GgufFacts, settings: Settings, tmp_path: Path
) -> None:
    bounded = dataclasses.replace(settings, model_ram_bytes=20 << 20)
    wanted, host = Wanted(context_tokens=40_960), Host(tmp_path, 8 * GIB)
    with pytest.raises(ModelTooLarge, match="LOCALSERVE_MODEL_RAM_BYTES leaves") as caught:
        place_model(tiny_q4_k_m, facts, "tiny", wanted, bounded, no_gpu, host)
    assert "would fit" in caught.value.hint
