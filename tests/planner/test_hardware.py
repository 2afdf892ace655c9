"""The machine as a whole: recorded machines, broken answers, and this one."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from localserve.config import Settings, read_settings
from localserve.planner.hardware import Disk, probe, refresh
from localserve.planner.readings import Amounts, Answer
from tests.planner.recorded import CPU, GIB, NO_NVML, RecordedReadings, listed_gpu, nvml_gpu

DEVICES, NVML = "localserve.llama.devices", "localserve.planner.nvml"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return read_settings({}, {"LOCALSERVE_HOME": str(tmp_path / "home")})


def test_memory_of_devices_counts_once(readings: RecordedReadings, settings: Settings) -> None:
    """A discrete GPU adds to the host's memory; integrated graphics use the host's."""
    integrated = listed_gpu("Vulkan0", backend="Vulkan", kind="igpu", bus_id="0000:00:02.0")
    readings.listed = [integrated, CPU]
    found = probe(settings, readings)
    assert [gpu.name for gpu in found.gpus] == ["Vulkan0"]
    assert found.free_bytes == 48 * GIB
    readings.listed = [listed_gpu(), integrated, CPU]
    found = probe(settings, readings)
    assert [gpu.name for gpu in found.gpus] == ["CUDA0"]
    assert found.free_bytes == (48 + 20) * GIB


@pytest.mark.parametrize(
    "document",
    [
        None,
        [],
        "hello",
        {},
        {"version": 1},
        {"version": "1", "backends": [], "features": [], "devices": []},
        {"version": "1", "backends": [], "features": None, "devices": [CPU]},
        {"version": "1", "backends": [], "features": [], "devices": [{"name": "CPU"}]},
        {"version": "1", "backends": [], "features": [], "devices": [{**CPU, "free_bytes": None}]},
        {"version": "1", "backends": [], "features": [], "devices": [{**CPU, "free_bytes": "x"}]},
    ],
)
def test_another_answer_of_llama_cpp_is_a_notice(
    readings: RecordedReadings, settings: Settings, document: object
) -> None:
    readings.answers[DEVICES] = Answer(document)
    found = probe(settings, readings)
    assert found.devices == ()
    assert found.llama_cpp.problem is not None
    assert found.notices[0].message.startswith("llama.cpp does not answer")


@pytest.mark.parametrize("document", [None, [], {}, {"gpus": 3, "problems": []}])
def test_another_answer_of_nvml_is_a_problem(
    readings: RecordedReadings, settings: Settings, document: object
) -> None:
    readings.answers[NVML] = Answer(document)
    found = probe(settings, readings)
    assert found.nvml.gpus == ()
    assert found.nvml.problems[0].startswith(f"{NVML} answered something else")
    assert found.notices == ()  # no card, nothing to tell


def test_the_disk_is_asked_where_models_are_going_to_be(
    readings: RecordedReadings, settings: Settings
) -> None:
    assert not settings.models_dir.exists()
    models = str(settings.models_dir)
    assert probe(settings, readings).disk == Disk(models, 100 * GIB, 500 * GIB)
    readings.disks[settings.models_dir.parent] = Amounts(10 * GIB, GIB)
    assert probe(settings, readings).disk == Disk(models, GIB, 10 * GIB)
    readings.disks.clear()
    assert probe(settings, readings).disk == Disk(models, None, None)


@pytest.mark.parametrize(
    ("path", "text", "container"),
    [
        ("/.dockerenv", "", "docker"),
        ("/run/.containerenv", "", "podman"),
        ("/run/systemd/container", "systemd-nspawn", "systemd-nspawn"),
        ("/proc/1/cgroup", "0::/kubepods/besteffort/pod1", "kubepods"),
        ("/proc/1/cgroup", "4:memory:/lxc/box", "lxc"),
        ("/proc/1/cgroup", "0::/init.scope", None),
    ],
)
def test_containers(
    readings: RecordedReadings, settings: Settings, path: str, text: str, container: str | None
) -> None:
    readings.write(path, text)
    assert probe(settings, readings).container == container


def test_kubernetes_is_known_by_its_variable(
    readings: RecordedReadings, settings: Settings
) -> None:
    readings.environment = {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}
    assert probe(settings, readings).container == "kubernetes"


@pytest.mark.parametrize(
    ("namespace", "name"),
    [("pid:[4026531836]", "blender"), ("pid:[4026532441]", ""), (None, "blender")],
)
def test_programs_have_no_names_where_their_ids_mean_others(
    readings: RecordedReadings, settings: Settings, namespace: str | None, name: str
) -> None:
    blender = {"pid": 7, "name": "blender", "used_bytes": GIB}
    readings.nvml = {**NO_NVML, "gpus": [nvml_gpu(processes=[blender])], "problems": []}
    readings.listed = [listed_gpu(), CPU]
    if namespace is not None:
        readings.link("/proc/self/ns/pid", namespace)
    found = probe(settings, readings)
    assert [process.name for process in found.gpus[0].processes] == [name]
    assert [process.name for process in refresh(found, readings).gpus[0].processes] == [name]


def test_refreshing_asks_the_driver_and_not_llama_cpp(
    readings: RecordedReadings, settings: Settings
) -> None:
    readings.listed, readings.backends = [listed_gpu(), CPU], ["CUDA", "CPU"]
    readings.nvml = {**NO_NVML, "gpus": [nvml_gpu(free_bytes=21 * GIB)], "problems": []}
    before = probe(settings, readings)
    readings.asked.clear()
    blender = {"pid": 7, "name": "blender", "used_bytes": 5 * GIB}
    readings.nvml["gpus"] = [nvml_gpu(free_bytes=16 * GIB, processes=[blender])]
    readings.memory_amounts = Amounts(64 * GIB, 30 * GIB)
    readings.disks[Path("/")] = Amounts(500 * GIB, 2 * GIB)
    now = refresh(before, readings)
    assert readings.asked == [(NVML,)]
    assert [device.free_bytes for device in now.devices] == [15 * GIB, 30 * GIB]
    assert [process.name for process in now.gpus[0].processes] == ["blender"]
    assert now.disk.free_bytes == 2 * GIB
    unchanged = ("llama_cpp", "processor", "notices", "system", "container")
    assert all(getattr(now, name) == getattr(before, name) for name in unchanged)


def test_a_gpu_that_neither_its_driver_nor_llama_cpp_lists_any_more_has_no_memory(
    readings: RecordedReadings, settings: Settings
) -> None:
    readings.listed, readings.backends = [listed_gpu(), CPU], ["CUDA", "CPU"]
    readings.nvml = {**NO_NVML, "gpus": [nvml_gpu(free_bytes=21 * GIB)], "problems": []}
    before = probe(settings, readings)
    readings.nvml = {**NO_NVML, "gpus": [], "problems": ["GPU is lost"]}
    readings.listed = [CPU]
    now = refresh(before, readings)
    for _ in range(2):
        assert now.gpus == ()
        assert [device.free_bytes for device in now.devices] == [0, 48 * GIB]
        assert now.devices[0].total_bytes == 0
        now = refresh(now, readings)


def test_one_of_two_gpus_that_is_lost_takes_the_other_not_with_it(
    readings: RecordedReadings, settings: Settings
) -> None:
    other = "0000:02:00.0"
    readings.listed = [listed_gpu(), listed_gpu("CUDA1", bus_id=other), CPU]
    readings.backends = ["CUDA", "CPU"]
    both = [nvml_gpu(free_bytes=21 * GIB), {**nvml_gpu(free_bytes=21 * GIB), "pci_bus_id": other}]
    readings.nvml = {**NO_NVML, "gpus": both, "problems": []}
    before = probe(settings, readings)
    readings.nvml["gpus"], readings.listed = both[:1], [listed_gpu(), CPU]
    now = refresh(before, readings)
    assert [(gpu.name, gpu.free_bytes) for gpu in now.gpus] == [("CUDA0", 20 * GIB)]
    readings.asked.clear()
    refresh(now, readings)
    assert readings.asked == [(NVML,)]


def test_a_driver_that_is_silent_for_once_takes_no_gpu_away(
    readings: RecordedReadings, settings: Settings
) -> None:
    readings.listed, readings.backends = [listed_gpu(), CPU], ["CUDA", "CPU"]
    readings.nvml = {**NO_NVML, "gpus": [nvml_gpu(free_bytes=21 * GIB)], "problems": []}
    before = probe(settings, readings)
    readings.nvml = {**NO_NVML, "gpus": [], "problems": ["no answer"]}
    assert refresh(before, readings).gpus[0].free_bytes == before.gpus[0].free_bytes


def test_refreshing_without_a_gpu_asks_no_child(
    readings: RecordedReadings, settings: Settings
) -> None:
    before = probe(settings, readings)
    readings.asked.clear()
    readings.memory_amounts = Amounts(64 * GIB, GIB)
    assert refresh(before, readings).free_bytes == GIB
    assert readings.asked == []


def test_refreshing_reads_amds_files(readings: RecordedReadings, settings: Settings) -> None:
    def used(gib: int) -> None:
        readings.write("/sys/bus/pci/devices/0000:03:00.0/mem_info_vram_used", str(gib * GIB))

    readings.card("0000:03:00.0", "0x1002", "amdgpu", mem_info_vram_total=str(24 * GIB))
    used(2)
    readings.listed = [listed_gpu("ROCm0", backend="ROCm", bus_id="0000:03:00.0"), CPU]
    before = probe(settings, readings)
    readings.asked.clear()
    used(5)
    assert refresh(before, readings).gpus[0].free_bytes == 17 * GIB
    assert readings.asked == []


def test_refreshing_runs_no_tool_of_the_system(
    readings: RecordedReadings, settings: Settings
) -> None:
    """The list of cards on Windows takes a second."""
    readings.system = "Windows"
    query = "Get-CimInstance Win32_VideoController | ForEach-Object Name"
    readings.commands["powershell", "-NoProfile", "-Command", query] = "AMD Radeon RX 6800"
    before = probe(settings, readings)
    readings.commands.clear()
    assert refresh(before, readings).cards == before.cards != ()


def test_refreshing_a_gpu_that_no_driver_tells_of_asks_llama_cpp(
    readings: RecordedReadings, settings: Settings
) -> None:
    readings.listed = [listed_gpu("SYCL0", backend="SYCL", bus_id=None), CPU]
    before = probe(settings, readings)
    readings.listed = [listed_gpu("SYCL0", backend="SYCL", bus_id=None, free_bytes=GIB), CPU]
    assert refresh(before, readings).gpus[0].free_bytes == GIB
    readings.answers[DEVICES] = Answer(problem="hangs")
    assert refresh(before, readings).gpus[0].free_bytes == 20 * GIB


def test_refreshing_with_a_driver_that_went_silent_keeps_what_was_known(
    readings: RecordedReadings, settings: Settings
) -> None:
    readings.listed = [listed_gpu(), CPU]
    readings.nvml = {**NO_NVML, "gpus": [nvml_gpu()], "problems": []}
    before = probe(settings, readings)
    readings.answers[NVML] = Answer(problem="hangs")
    now = refresh(before, readings)
    assert now.gpus == before.gpus


def test_this_machine_is_probed_for_real(settings: Settings) -> None:
    found = probe(settings)
    assert found.llama_cpp.problem is None
    assert any(device.kind == "cpu" for device in found.devices)
    assert 0 < found.memory.available_bytes <= found.memory.usable_bytes
    assert found.memory.usable_bytes <= found.memory.total_bytes
    assert 1 <= found.processor.usable_cores <= found.processor.cores
    assert found.disk.free_bytes is not None
    assert json.loads(json.dumps(dataclasses.asdict(found)))
    again = refresh(found)
    assert [device.name for device in again.devices] == [device.name for device in found.devices]
