"""Bandwidth is measured once per machine, kept whole, and measured again when it must be."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from localserve.config import Settings, read_settings
from localserve.planner import bandwidth
from localserve.planner.bandwidth import (
    Bandwidth,
    StepRates,
    Throughput,
    machine_key,
    measure_bandwidth,
)
from localserve.planner.hardware import Hardware, probe
from localserve.planner.readings import Answer, Readings
from tests.planner.recorded import CPU, GIB, NO_NVML, RecordedReadings, listed_gpu, nvml_gpu

CPU_TYPES = {
    "F32": {"decode_bytes_per_second": 40e9},
    "Q4_K": {"decode_bytes_per_second": 35e9, "prompt_flops_per_second": 500e9},
}
CPU_STEPS = {"operation_seconds": 1e-6, "element_bytes_per_second": -1.0}
GPU_TYPES = {"Q4_K": {"decode_bytes_per_second": 900e9, "prompt_flops_per_second": 90e12}}


class MeasuredReadings(RecordedReadings):
    """Answers the measuring child by device, and remembers which were measured."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.rates: dict[str, Any] = {"CPU": CPU_TYPES, "CUDA0": GPU_TYPES}
        self.steps: dict[str, Any] = {"CPU": CPU_STEPS}
        self.measured: list[tuple[str, ...]] = []

    def ask(self, module: str, *arguments: str, timeout_seconds: float) -> Answer:
        if module != "localserve.llama.bandwidth":
            return super().ask(module, *arguments, timeout_seconds=timeout_seconds)
        self.measured.append(arguments)
        rates = self.rates[arguments[0]]
        steps = self.steps.get(arguments[0])
        return rates if isinstance(rates, Answer) else Answer({"types": rates, "steps": steps})


@pytest.fixture
def readings(tmp_path: Path) -> MeasuredReadings:
    readings = MeasuredReadings(tmp_path / "machine")
    readings.listed, readings.backends = [listed_gpu(), CPU], ["CUDA", "CPU"]
    readings.nvml = {**NO_NVML, "gpus": [nvml_gpu()], "driver_version": "580.1", "problems": []}
    return readings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return read_settings({}, {"LOCALSERVE_HOME": str(tmp_path / "home")})


@pytest.fixture
def hardware(readings: MeasuredReadings, settings: Settings) -> Hardware:
    return probe(settings, readings)


def kept_file(settings: Settings) -> Path:
    (path,) = (settings.cache_dir / "bandwidth").glob("*.json")
    return path


def test_each_device_is_measured_and_told_of(
    readings: MeasuredReadings, settings: Settings, hardware: Hardware
) -> None:
    told: list[str] = []
    found = measure_bandwidth(hardware, settings, readings=readings, progress=told.append)
    assert told == ["CUDA0", "CPU"]
    stream_bytes = str(256 << 20)
    assert readings.measured == [("CUDA0", "8", stream_bytes), ("CPU", "8", stream_bytes)]
    assert found == Bandwidth(
        ram_bytes_per_second=40e9,
        devices={"CUDA0": 900e9, "CPU": 40e9},
        throughput={
            "CUDA0": {"Q4_K": Throughput(900e9, 90e12)},
            "CPU": {"F32": Throughput(40e9, None), "Q4_K": Throughput(35e9, 500e9)},
        },
        steps={"CUDA0": StepRates(), "CPU": StepRates(operation_seconds=1e-6)},
        threads=8,
        problems=(),
        measured_at=found.measured_at,
        cached=False,
    )


def test_the_second_time_it_is_known(
    readings: MeasuredReadings, settings: Settings, hardware: Hardware
) -> None:
    first = measure_bandwidth(hardware, settings, readings=readings)
    again = measure_bandwidth(hardware, settings, readings=readings)
    assert again == dataclasses.replace(first, cached=True)
    assert len(readings.measured) == 2
    fresh = measure_bandwidth(hardware, settings, readings=readings, refresh=True)
    assert not fresh.cached
    assert len(readings.measured) == 4


def test_the_threads_of_the_settings_are_measured(
    readings: MeasuredReadings, settings: Settings, hardware: Hardware
) -> None:
    measure_bandwidth(hardware, settings, readings=readings)
    fewer = dataclasses.replace(settings, threads=3)
    assert measure_bandwidth(hardware, fewer, readings=readings).threads == 3
    assert readings.measured[-1][1] == "3"


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "null",
        "{}",
        '{"throughput": 1, "ram_bytes_per_second": null, "devices": {}}',
        '{"throughput": {}, "ram_bytes_per_second": "x", "devices": {}, "threads": 1,'
        ' "problems": [], "measured_at": 1}',
        "\x00\xff",
    ],
)
def test_a_damaged_entry_is_measured_again(
    readings: MeasuredReadings, settings: Settings, hardware: Hardware, content: str
) -> None:
    measure_bandwidth(hardware, settings, readings=readings)
    kept_file(settings).write_text(content)
    assert not measure_bandwidth(hardware, settings, readings=readings).cached
    assert measure_bandwidth(hardware, settings, readings=readings).cached


def test_nothing_half_written_stays(
    readings: MeasuredReadings,
    settings: Settings,
    hardware: Hardware,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(document: object, file: Any) -> None:
        file.write("{")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(bandwidth.json, "dump", full)
    found = measure_bandwidth(hardware, settings, readings=readings)
    assert found.devices == {"CUDA0": 900e9, "CPU": 40e9}
    assert "No space left on device" in found.problems[0]
    left = {path.suffix for path in (settings.cache_dir / "bandwidth").iterdir()}
    assert left <= {".lock"}


def test_a_cache_folder_that_cannot_be_made_is_a_problem(
    readings: MeasuredReadings, settings: Settings, hardware: Hardware, tmp_path: Path
) -> None:
    (tmp_path / "home").write_text("a file")
    found = measure_bandwidth(hardware, settings, readings=readings)
    assert found.ram_bytes_per_second == 40e9
    assert found.problems[0].startswith("The measurement cannot be kept in ")


def test_a_measurement_that_another_process_makes_is_waited_for(
    readings: MeasuredReadings,
    settings: Settings,
    hardware: Hardware,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    measure_bandwidth(hardware, settings, readings=readings)
    monkeypatch.setattr(bandwidth, "MEASURE_SECONDS", 0.01)
    with FileLock(f"{kept_file(settings)}.lock"):
        found = measure_bandwidth(hardware, settings, readings=readings)
    assert found.cached


def test_a_device_that_fails_leaves_the_others(
    readings: MeasuredReadings, settings: Settings, hardware: Hardware
) -> None:
    readings.rates["CUDA0"] = Answer(problem="localserve.llama.bandwidth was ended by SIGABRT")
    found = measure_bandwidth(hardware, settings, readings=readings)
    assert found.devices == {"CPU": 40e9}
    assert found.problems == (
        "CUDA0 was not measured: localserve.llama.bandwidth was ended by SIGABRT",
    )


@pytest.mark.parametrize(
    "rates",
    [
        {},
        {"Q4_K": {}},
        {"Q4_K": {"decode_bytes_per_second": 0}},
        {"Q4_K": {"decode_bytes_per_second": -1.0}},
        {"Q4_K": {"decode_bytes_per_second": float("nan")}},
        {"Q4_K": {"decode_bytes_per_second": "fast"}},
        {"Q4_K": 3},
        Answer([]),
        Answer({"types": None}),
    ],
)
def test_what_is_no_rate_does_not_count(
    readings: MeasuredReadings, settings: Settings, hardware: Hardware, rates: object
) -> None:
    readings.rates["CPU"] = rates
    found = measure_bandwidth(hardware, settings, readings=readings)
    assert found.ram_bytes_per_second is None
    assert found.problems == ("CPU was not measured: it multiplies none of the types",)


def test_problems_are_tried_again_after_an_hour(
    readings: MeasuredReadings, settings: Settings, hardware: Hardware
) -> None:
    readings.rates["CUDA0"] = Answer(problem="out of memory")
    measure_bandwidth(hardware, settings, readings=readings)
    readings.rates["CUDA0"] = GPU_TYPES
    assert measure_bandwidth(hardware, settings, readings=readings).cached
    path = kept_file(settings)
    document = json.loads(path.read_text())
    document["measured_at"] -= bandwidth.RETRY_SECONDS + 60
    path.write_text(json.dumps(document))
    again = measure_bandwidth(hardware, settings, readings=readings)
    assert (again.cached, again.problems) == (False, ())


def test_what_was_measured_beside_busy_programs_is_not_believed_for_long(
    readings: MeasuredReadings, settings: Settings, hardware: Hardware
) -> None:
    readings.busy = 0.8
    found = measure_bandwidth(hardware, settings, readings=readings)
    assert found.ram_bytes_per_second == 40e9
    assert found.problems[0].startswith("Other programs used 80% of the processors")
    assert measure_bandwidth(hardware, settings, readings=readings).cached
    path = kept_file(settings)
    document = json.loads(path.read_text())
    document["measured_at"] -= bandwidth.RETRY_SECONDS + 60
    path.write_text(json.dumps(document))
    readings.busy = bandwidth.BUSY
    again = measure_bandwidth(hardware, settings, readings=readings)
    assert (again.cached, again.problems) == (False, ())


def test_a_device_with_little_free_memory_is_measured_with_less_or_not_at_all(
    readings: MeasuredReadings, settings: Settings, hardware: Hardware
) -> None:
    gpu, cpu = hardware.devices
    little = dataclasses.replace(gpu, free_bytes=GIB // 2)
    found = dataclasses.replace(hardware, devices=(little, cpu))
    measure_bandwidth(found, settings, readings=readings)
    assert readings.measured[0] == ("CUDA0", "8", str(GIB // 8))
    none = dataclasses.replace(gpu, free_bytes=100 << 20)
    found = dataclasses.replace(hardware, devices=(none, cpu))
    measured = measure_bandwidth(found, settings, readings=readings, refresh=True)
    assert measured.problems == ("CUDA0 was not measured: only 100 MiB are free there",)


def test_devices_that_are_not_used_are_not_measured(
    readings: MeasuredReadings, settings: Settings
) -> None:
    readings.listed = [
        listed_gpu(),
        listed_gpu("Vulkan0", backend="Vulkan"),
        {**CPU, "name": "BLAS", "kind": "accel"},
        CPU,
    ]
    found = probe(settings, readings)
    assert [*measure_bandwidth(found, settings, readings=readings).devices] == ["CUDA0", "CPU"]


def test_without_llama_cpp_nothing_is_measured_and_nothing_kept_for_long(
    readings: MeasuredReadings, settings: Settings
) -> None:
    readings.answers["localserve.llama.devices"] = Answer(problem="gone")
    found = measure_bandwidth(probe(settings, readings), settings, readings=readings)
    assert found.ram_bytes_per_second is None
    assert found.problems == ("Nothing was measured: llama.cpp lists no devices",)


def test_the_key_follows_the_machine_and_the_software_not_the_moment(hardware: Hardware) -> None:
    key = machine_key(hardware, 8)
    busy = [dataclasses.replace(one, free_bytes=1, processes=()) for one in hardware.devices]
    memory = dataclasses.replace(hardware.memory, available_bytes=1)
    same = dataclasses.replace(hardware, devices=tuple(busy), memory=memory, notices=())
    assert machine_key(same, 8) == key
    others = [
        dataclasses.replace(hardware, devices=hardware.devices[1:]),
        dataclasses.replace(hardware, nvml=dataclasses.replace(hardware.nvml, driver_version="1")),
        dataclasses.replace(
            hardware, llama_cpp=dataclasses.replace(hardware.llama_cpp, version="0.4")
        ),
        dataclasses.replace(hardware, memory=dataclasses.replace(hardware.memory, total_bytes=GIB)),
    ]
    keys = {machine_key(one, 8) for one in others} | {machine_key(hardware, 4)}
    assert len(keys) == 5
    assert key not in keys


def test_a_kept_entry_of_a_machine_is_found_by_another_object(
    readings: MeasuredReadings, settings: Settings, hardware: Hardware
) -> None:
    measure_bandwidth(hardware, settings, readings=readings)
    assert measure_bandwidth(probe(settings, readings), settings, readings=readings).cached


def test_the_real_child_refuses_a_device_that_does_not_exist() -> None:
    answer = Readings().ask("localserve.llama.bandwidth", "CUDA99", "1", "1", timeout_seconds=60)
    assert answer.problem is not None
    assert "llama.cpp has no device CUDA99" in answer.problem
