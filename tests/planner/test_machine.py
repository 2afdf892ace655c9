"""Hardware as places with room: what is kept free, and what counts twice."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from localserve.config import read_settings
from localserve.planner.bandwidth import Bandwidth, Throughput
from localserve.planner.hardware import probe
from localserve.planner.machine import (
    GPU_MARGIN_BYTES,
    PROCESS_BYTES,
    TYPICAL_CPU,
    Load,
    Machine,
    Program,
    emptied,
    imagined,
    machine_of,
)
from localserve.planner.usage import RAM, DeviceUsage, MemoryUsage
from tests.planner.recorded import CPU, GIB, NO_NVML, RecordedReadings, listed_gpu, nvml_gpu

BANDWIDTH = Bandwidth(
    ram_bytes_per_second=48e9,
    devices={"CUDA0": 900e9, "CPU": 48e9},
    throughput={
        "CUDA0": {"Q4_K": Throughput(880e9, 91e12)},
        "CPU": {"F32": Throughput(48e9, None)},
    },
    steps={},
    threads=8,
    problems=(),
    measured_at=1.0,
    cached=True,
)


def made(readings: RecordedReadings, tmp_path: Path) -> Machine:
    settings = read_settings({}, {"LOCALSERVE_HOME": str(tmp_path)})
    return machine_of(probe(settings, readings), BANDWIDTH)


def test_ram_has_what_is_available_less_a_margin(
    readings: RecordedReadings, tmp_path: Path
) -> None:
    ram = made(readings, tmp_path).ram
    assert ram.name == RAM
    assert (ram.total_bytes, ram.free_bytes) == (64 * GIB, 48 * GIB)
    assert ram.margin_bytes == 64 * GIB // 20
    assert ram.rates == BANDWIDTH.throughput["CPU"]


def test_a_containers_limit_is_all_the_ram_there_is(
    readings: RecordedReadings, tmp_path: Path
) -> None:
    readings.write("/proc/self/cgroup", "0::/")
    readings.write("/proc/self/mountinfo", "31 23 0:28 / /cg rw - cgroup2 cgroup2 rw")
    readings.write("/cg/memory.max", str(8 * GIB))
    readings.write("/cg/memory.current", str(6 * GIB))
    ram = made(readings, tmp_path).ram
    assert (ram.total_bytes, ram.free_bytes) == (8 * GIB, 2 * GIB)
    assert ram.room_bytes == 2 * GIB - GIB // 2


def test_a_gpu_has_its_own_room_rates_and_users(readings: RecordedReadings, tmp_path: Path) -> None:
    processes = [
        {"pid": 7, "name": "blender", "used_bytes": 3 * GIB},
        {"pid": 8, "name": "", "used_bytes": None},
    ]
    readings.nvml = {**NO_NVML, "gpus": [nvml_gpu(processes=processes)], "problems": []}
    readings.listed = [listed_gpu(), CPU]
    (gpu,) = made(readings, tmp_path).gpus
    assert (gpu.name, gpu.room_bytes) == ("CUDA0", 20 * GIB - GPU_MARGIN_BYTES)
    assert gpu.rates == BANDWIDTH.throughput["CUDA0"]
    assert gpu.programs == (Program("blender", 3 * GIB), Program("process 8", None))


def test_an_integrated_gpu_beside_a_card_is_no_place(
    readings: RecordedReadings, tmp_path: Path
) -> None:
    integrated = listed_gpu("Vulkan1", backend="Vulkan", kind="igpu", bus_id="0000:00:02.0")
    readings.listed = [listed_gpu(), integrated, CPU]
    assert made(readings, tmp_path).gpu_names == ("CUDA0",)


def test_what_lies_on_a_gpu_without_memory_of_its_own_takes_ram_too(
    readings: RecordedReadings, tmp_path: Path
) -> None:
    readings.listed = [
        listed_gpu(
            "Vulkan0",
            backend="Vulkan",
            kind="igpu",
            bus_id=None,
            free_bytes=40 * GIB,
            total_bytes=60 * GIB,
        ),
        CPU,
    ]
    machine = made(readings, tmp_path)
    assert machine.gpus[0].unified
    usage = MemoryUsage((DeviceUsage(RAM, 1, 2, 3), DeviceUsage("Vulkan0", 10, 20, 30)), 100)
    assert machine.loads(usage) == (
        Load("Vulkan0", 60, 40 * GIB),
        Load(RAM, 6 + 60 + 100 + PROCESS_BYTES, machine.ram.room_bytes, 60),
    )


def test_a_device_that_is_no_place_counts_as_ram() -> None:
    machine = imagined((8 * GIB,), 16 * GIB)
    usage = MemoryUsage((DeviceUsage("BLAS", 5, 0, 0), DeviceUsage("GPU0", 7, 0, 0)), 0)
    assert [load.needed_bytes for load in machine.loads(usage)] == [7, 5 + PROCESS_BYTES]


def test_an_imagined_machine_is_free_and_usual() -> None:
    machine = imagined((24 * GIB, 8 * GIB), 32 * GIB)
    assert machine.imagined
    assert machine.gpu_names == ("GPU0", "GPU1")
    assert [place.free_bytes for place in machine.places] == [24 * GIB, 8 * GIB, 32 * GIB]
    assert machine.ram.rates == TYPICAL_CPU


def test_models_take_no_more_of_ram_than_they_may(
    readings: RecordedReadings, tmp_path: Path
) -> None:
    environ = {"LOCALSERVE_HOME": str(tmp_path), "LOCALSERVE_MODEL_RAM_BYTES": str(4 * GIB)}
    machine = machine_of(probe(read_settings({}, environ), readings), BANDWIDTH)
    ram = machine.ram
    assert (ram.total_bytes, ram.free_bytes) == (64 * GIB, 48 * GIB)
    assert ram.room_bytes == 4 * GIB + PROCESS_BYTES  # a plan counts the process, too
    assert emptied(machine).ram.room_bytes == ram.room_bytes
    assert ram.most_bytes == ram.room_bytes
    readings.memory_amounts = replace(readings.memory_amounts, free_bytes=5 * GIB)
    full = machine_of(probe(read_settings({}, environ), readings), BANDWIDTH).ram
    assert full.room_bytes == 5 * GIB - full.margin_bytes
    assert full.most_bytes == 4 * GIB + PROCESS_BYTES
