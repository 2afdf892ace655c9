"""Who holds how much of each device's memory."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from localserve.config import read_settings
from localserve.manager.ledger import Ledger
from localserve.planner.hardware import Hardware, probe
from localserve.server.machine_memory import MachineMemory
from tests.planner.recorded import GIB, RecordedReadings


@pytest.fixture
def hardware(tmp_path: Path) -> Hardware:
    """64 GiB of RAM, of which 20 are in use, and a GPU of 24 GiB, of which 8 are."""
    settings = read_settings(environ={"LOCALSERVE_HOME": str(tmp_path / "home")})
    made = probe(settings, RecordedReadings(tmp_path / "machine"))
    memory = replace(made.memory, usable_bytes=64 * GIB, available_bytes=44 * GIB)
    cpu = made.devices[0]
    gpu = replace(
        cpu,
        name="CUDA0",
        kind="gpu",
        free_bytes=16 * GIB,
        total_bytes=24 * GIB,
        used_by_default=True,
    )
    return replace(made, memory=memory, devices=(cpu, gpu))


def ledger_of(ram_gib: int, gpu_gib: int) -> Ledger:
    ledger = Ledger()
    ledger.hold("chat", {"CPU": ram_gib * GIB, "CUDA0": gpu_gib * GIB})
    return ledger


async def rows(hardware: Hardware, ledger: Ledger, own_gib: int) -> dict[str, dict[str, object]]:
    async def look() -> Hardware:
        return hardware

    memory = MachineMemory(look, lambda: own_gib * GIB)
    assert memory.rows(ledger)[0]["total_bytes"] is None  # nobody waits for the first look
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    return {row["device"]: row for row in memory.rows(ledger)}


def in_gib(row: dict[str, object]) -> list[float]:
    names = ("total_bytes", "held_bytes", "server_bytes", "other_bytes", "free_bytes")
    return [int(str(row[name])) / GIB for name in names]


async def test_what_models_do_not_hold_is_the_servers_or_that_of_other_programs(
    hardware: Hardware,
) -> None:
    told = await rows(hardware, ledger_of(5, 6), own_gib=7)
    assert in_gib(told["CPU"]) == [64, 5, 2, 13, 44]
    assert in_gib(told["CUDA0"]) == [24, 6, 0, 2, 16]


async def test_what_a_model_has_not_touched_yet_is_not_free(hardware: Hardware) -> None:
    told = await rows(hardware, ledger_of(10, 8), own_gib=4)
    assert in_gib(told["CPU"]) == [64, 10, 0, 16, 38]
    assert in_gib(told["CUDA0"]) == [24, 8, 0, 0, 16]


async def test_a_gpu_without_memory_of_its_own_is_told_of_in_rams_row(
    hardware: Hardware,
) -> None:
    cpu, gpu = hardware.devices
    shared = replace(hardware, devices=(cpu, replace(gpu, unified=True)))
    ledger = ledger_of(1, 4)
    ledger.measure({"CPU": 40 * GIB, "CUDA0": 10 * GIB}, in_ram={"CUDA0"})
    told = await rows(shared, ledger, own_gib=6)
    assert told["CUDA0"]["total_bytes"] is None
    assert in_gib(told["CPU"]) == [64, 5, 1, 14, 44]


@pytest.mark.parametrize(("takes", "rests"), [(0.01, 3.0), (1.0, 20.0)])
async def test_what_takes_long_to_measure_is_measured_rarely(
    hardware: Hardware, takes: float, rests: float
) -> None:
    now, looks = 0.0, 0

    async def look() -> Hardware:
        nonlocal now, looks
        now += takes
        looks += 1
        return hardware

    memory = MachineMemory(look, lambda: 0, lambda: now)
    for later, expected in ((0.0, 1), (rests - 0.01, 1), (0.02, 2)):
        now += later
        memory.rows(ledger_of(1, 1))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert looks == expected


async def test_a_machine_that_cannot_be_measured_leaves_the_rest_as_it_is(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def fail() -> Hardware:
        raise OSError("no such file")

    memory = MachineMemory(fail)
    ledger = ledger_of(1, 0)
    memory.rows(ledger)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert memory.rows(ledger)[0]["held_bytes"] == GIB
    assert "could not be measured" in caplog.text
