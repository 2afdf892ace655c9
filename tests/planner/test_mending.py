"""The commands that install a llama.cpp without compiling it."""

from __future__ import annotations

import pytest

from localserve.planner.mending import prebuilt_command, rebuild_command
from tests.planner.recorded import RecordedReadings


@pytest.mark.parametrize(
    ("supported", "index"),
    [
        ("13.2", "cu125"),
        ("12.6", "cu125"),
        ("12.4", "cu124"),
        ("12.0", "cu118"),
        ("11.8", "cu118"),
        ("11.4", None),
        ("", None),
        ("twelve", None),
        (None, None),
    ],
)
def test_the_newest_cuda_that_the_driver_runs_is_chosen(
    readings: RecordedReadings, supported: str | None, index: str | None
) -> None:
    command = prebuilt_command(readings, "cuda", supported)
    assert (command is None) is (index is None)
    if command is not None:
        assert command.endswith(f"/whl/{index} llama-cpp-python")


@pytest.mark.parametrize(
    ("system", "backend", "index"),
    [
        ("Linux", "hip", "rocm72"),
        ("Linux", "vulkan", "vulkan"),
        ("Linux", "cpu", None),
        ("Windows", "hip", "hip-radeon"),
        ("Windows", "vulkan", "vulkan"),
        ("Darwin", "metal", "metal"),
    ],
)
def test_each_system_has_indexes_of_its_own(
    readings: RecordedReadings,
    monkeypatch: pytest.MonkeyPatch,
    system: str,
    backend: str,
    index: str | None,
) -> None:
    monkeypatch.setattr(RecordedReadings, "system", system)
    command = prebuilt_command(readings, backend, None)
    assert (command or "None llama-cpp-python").split()[-2].rpartition("/")[2] == str(index)
    assert command is None or (command.startswith("& ") is (system == "Windows"))


def test_nobody_compiles_for_arm_on_linux(
    readings: RecordedReadings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(RecordedReadings, "architecture", "aarch64")
    assert prebuilt_command(readings, "cuda", "13.0") is None


def test_an_environment_without_pip_is_uv_s(readings: RecordedReadings) -> None:
    readings.modules.clear()
    assert "uv pip install --python" in rebuild_command(readings, "hip")
    assert "--reinstall --no-cache" in rebuild_command(readings, "hip")
