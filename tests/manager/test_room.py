"""What models may take of a recorded machine, and whether an unload gave it back."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from localserve.config import Settings, read_settings
from localserve.manager import room
from localserve.manager.room import MachineRoom
from localserve.planner.machine import GPU_MARGIN_BYTES, ram_margin
from localserve.planner.readings import Amounts
from localserve.planner.usage import RAM
from tests.planner.recorded import CPU, NO_NVML, RecordedReadings, listed_gpu, nvml_gpu

GIB = 1 << 30
MARGIN = ram_margin(64 * GIB)


class Process:
    """This process, as large as it is said to be."""

    resident_bytes = 1 * GIB

    def __call__(self) -> int:
        return self.resident_bytes


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return read_settings(environ={"LOCALSERVE_HOME": str(tmp_path)})


@pytest.fixture
def process() -> Process:
    return Process()


@pytest.fixture
def machine(tmp_path: Path) -> RecordedReadings:
    readings = RecordedReadings(tmp_path / "machine")
    readings.listed, readings.backends = [listed_gpu(), CPU], ["CUDA", "CPU"]
    readings.nvml = {**NO_NVML, "gpus": [nvml_gpu(free_bytes=21 * GIB)], "problems": []}
    return readings


async def test_room_is_what_is_free_less_what_is_left_to_others(
    settings: Settings, machine: RecordedReadings, process: Process
) -> None:
    measured = await MachineRoom(settings, machine, process).measure({})
    assert measured == {RAM: 48 * GIB - MARGIN, "CUDA0": 20 * GIB - GPU_MARGIN_BYTES}


async def test_memory_that_another_program_takes_is_seen_at_the_next_look(
    settings: Settings, machine: RecordedReadings, process: Process
) -> None:
    here = MachineRoom(settings, machine, process)
    await here.measure({})
    machine.nvml["gpus"] = [nvml_gpu(free_bytes=2 * GIB)]
    assert (await here.measure({}))["CUDA0"] == 0


async def test_a_gpu_that_vanishes_has_no_room_and_that_is_said_once(
    settings: Settings,
    machine: RecordedReadings,
    process: Process,
    caplog: pytest.LogCaptureFixture,
) -> None:
    here = MachineRoom(settings, machine, process)
    await here.measure({})
    assert here.most() == {RAM: 64 * GIB - MARGIN, "CUDA0": 24 * GIB - GPU_MARGIN_BYTES}
    machine.nvml["gpus"], machine.listed = [], [CPU]
    for _ in range(2):
        assert await here.measure({"CUDA0": 5 * GIB}) == {RAM: 48 * GIB - MARGIN}
        assert here.most() == {RAM: 64 * GIB - MARGIN}
    (record,) = caplog.records
    assert "CUDA0" in record.message
    assert "24.0 GiB" in record.message
    assert "localserve hardware" in record.message


async def test_memory_that_is_held_and_not_touched_yet_is_not_free(
    settings: Settings, machine: RecordedReadings, process: Process
) -> None:
    here = MachineRoom(settings, machine, process)
    process.resident_bytes += 6 * GIB
    measured = await here.measure({RAM: 10 * GIB})
    assert measured[RAM] == 44 * GIB - MARGIN


async def test_an_unload_is_waited_for_until_the_driver_has_the_memory_back(
    settings: Settings,
    machine: RecordedReadings,
    process: Process,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(room, "POLL_SECONDS", 0.001)
    here = MachineRoom(settings, machine, process)
    machine.nvml["gpus"] = [nvml_gpu(free_bytes=10 * GIB)]
    before = await here.used()
    waiting = asyncio.create_task(here.recover(before, {"CUDA0": 8 * GIB}))
    await asyncio.sleep(0.05)
    assert not waiting.done()
    machine.nvml["gpus"] = [nvml_gpu(free_bytes=17 * GIB)]
    await waiting


async def test_a_wait_for_memory_that_does_not_come_back_ends(
    settings: Settings,
    machine: RecordedReadings,
    process: Process,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(room, "RECOVERY_SECONDS", 0.01)
    here = MachineRoom(settings, machine, process)
    async with asyncio.timeout(20):
        await here.recover(await here.used(), {RAM: GIB})


@pytest.fixture
def apple(tmp_path: Path) -> RecordedReadings:
    """64 GiB, of which 50 are available and the GPU may use 48."""
    readings = RecordedReadings(tmp_path / "machine")
    readings.system, readings.architecture = "Darwin", "arm64"  # type: ignore[misc]
    readings.memory_amounts = Amounts(64 * GIB, 50 * GIB)
    gpu = listed_gpu("MTL0", backend="MTL", bus_id=None, free_bytes=48 * GIB, total_bytes=48 * GIB)
    readings.listed, readings.backends = [gpu, CPU], ["MTL", "CPU"]
    return readings


async def test_a_gpu_without_memory_of_its_own_has_no_more_room_than_ram(
    settings: Settings, apple: RecordedReadings, process: Process
) -> None:
    here = MachineRoom(settings, apple, process)
    assert here.in_ram == frozenset()  # nobody has looked
    assert await here.measure({}) == {RAM: 50 * GIB - MARGIN, "MTL0": 50 * GIB - MARGIN}
    assert here.in_ram == {"MTL0"}


async def test_what_an_apple_gpu_gives_back_is_seen_in_ram(
    settings: Settings,
    apple: RecordedReadings,
    process: Process,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(room, "POLL_SECONDS", 0.001)
    here = MachineRoom(settings, apple, process)
    apple.memory_amounts = Amounts(64 * GIB, 52 * GIB)  # more than the GPU may use
    before = await here.used()
    waiting = asyncio.create_task(here.recover(before, {"MTL0": 4 * GIB}))
    await asyncio.sleep(0.02)
    assert not waiting.done()
    apple.memory_amounts = Amounts(64 * GIB, 56 * GIB)
    await asyncio.wait_for(waiting, 4)
