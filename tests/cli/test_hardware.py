"""What `localserve hardware` prints, for people and for programs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from localserve.cli import hardware as command
from localserve.cli.app import app
from localserve.planner.bandwidth import Bandwidth, StepRates, Throughput
from localserve.planner.hardware import probe
from tests.planner.recorded import CPU, GIB, NO_NVML, RecordedReadings, listed_gpu, nvml_gpu

BANDWIDTH = Bandwidth(
    ram_bytes_per_second=48.4e9,
    devices={"CUDA0": 912.6e9, "CPU": 48.4e9},
    throughput={
        "CUDA0": {"Q4_K": Throughput(880e9, 91.2e12)},
        "CPU": {"F32": Throughput(48.4e9, None), "F16": Throughput(40e9, 64.25e9)},
    },
    steps={"CPU": StepRates(operation_seconds=1e-6)},
    threads=8,
    problems=("Vulkan9 was not measured: it hangs [always]",),
    measured_at=1.0,
    cached=False,
)


@pytest.fixture
def readings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RecordedReadings:
    """An RTX 4090 that blender uses, in a container with 40 GiB."""
    readings = RecordedReadings(tmp_path / "machine")
    processes = [
        {"pid": 7, "name": "blender", "used_bytes": 3 * GIB},
        {"pid": 8, "name": "", "used_bytes": None},
    ]
    readings.nvml = {
        **NO_NVML,
        "driver_version": "580.95.05",
        "cuda_version": "13.0",
        "gpus": [nvml_gpu(processes=processes)],
        "problems": [],
    }
    readings.listed, readings.backends = [listed_gpu(), CPU], ["CUDA", "CPU"]
    readings.write("/.dockerenv", "")
    readings.write("/proc/cpuinfo", "model name : Fast CPU [16]\nflags : avx2 fma f16c")
    readings.write("/proc/self/cgroup", "0::/")
    readings.write("/proc/self/mountinfo", "31 23 0:28 / /cg rw - cgroup2 cgroup2 rw")
    readings.write("/cg/memory.max", str(40 * GIB))
    readings.write("/cg/memory.current", str(10 * GIB))
    readings.write("/cg/cpu.max", "400000 100000")
    monkeypatch.setenv("LOCALSERVE_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(command, "probe", lambda settings: probe(settings, readings))
    monkeypatch.setattr(command, "measure_bandwidth", lambda *_, **__: BANDWIDTH)
    return readings


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["hardware", *arguments], catch_exceptions=False)
    assert result.exit_code == 0
    return result.stdout


def test_people_get_a_page_in_plain_text(readings: RecordedReadings, tmp_path: Path) -> None:
    lines = [line.rstrip() for line in run().splitlines()]
    assert lines == [
        "system     Linux x86_64, in a container (docker)",
        "processor  Fast CPU [16]",
        "           8 cores, 16 threads; 4 cores may be used here (a quota of 4)",
        "           AVX2 FMA F16C",
        "memory     30.0 GiB available of 64.0 GiB; limited to 40.0 GiB, 10.0 GiB of it in use",
        "swap       6.0 GiB free of 8.0 GiB",
        f"disk       100.0 GiB free of 500.0 GiB, for {tmp_path / 'home/data/models'}",
        "llama.cpp  llama-cpp-python 0.3.36, built for CUDA, CPU",
        "NVIDIA     driver 580.95.05, CUDA 13.0",
        "",
        "device                               free     total   bandwidth        compute",
        "CUDA0   NVIDIA GeForce RTX 4090  20.0 GiB  24.0 GiB  912.6 GB/s  91.20 TFLOP/s",
        "CPU     Some CPU                 30.0 GiB  40.0 GiB   48.4 GB/s   64.2 GFLOP/s",
        "CUDA0: 3.0 GiB used by blender (process 7)",
        "CUDA0: an unknown amount used by a program whose name is hidden (process 8)",
        "",
        "info Vulkan9 was not measured: it hangs [always]",
    ]


def test_a_bound_on_the_memory_of_models_is_shown(
    readings: RecordedReadings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCALSERVE_MODEL_RAM_BYTES", str(4 << 30))
    assert "models may take 4.0 GiB" in run()
    assert json.loads(run("--json"))["model_ram_bytes"] == 4 << 30


def test_an_idle_card_is_a_warning_with_its_command(readings: RecordedReadings) -> None:
    readings.listed, readings.backends = [CPU], ["CPU"]
    readings.card("0000:01:00.0", "0x10de", "nvidia")
    readings.write("/dev/nvidiactl", "")
    readings.tools = {"nvcc"}
    lines = run().splitlines()
    at = lines.index(
        "warning NVIDIA GeForce RTX 4090 is in this machine, and llama.cpp cannot use it: this"
        " build is for CPU only"
    )
    assert "cuda" in lines[at + 1].lower()


def test_a_machine_of_which_little_is_known_still_has_a_page(readings: RecordedReadings) -> None:
    readings.disks.clear()
    readings.listed = []
    text = run()
    assert "disk       unknown, for " in text
    assert "llama.cpp does not answer: it lists no devices" in text


def keys(document: Any) -> Any:
    """The keys of an object and of the objects within; of a list, those of its first element."""
    if isinstance(document, dict):
        return {name: keys(value) for name, value in document.items()}
    if isinstance(document, list) and document and isinstance(document[0], dict):
        return [keys(document[0])]
    return None


def fields(names: str) -> dict[str, None]:
    return dict.fromkeys(names.split())


def test_programs_get_a_stable_shape(readings: RecordedReadings) -> None:
    readings.card("0000:00:02.0", "0x8086", "i915")
    readings.write("/dev/dri", "")
    document = json.loads(run("--json"))
    process = fields("pid name used_bytes")
    gpu = fields("name uuid instance_of pci_bus_id total_bytes free_bytes")
    device = fields("name description backend kind free_bytes total_bytes unified")
    device |= fields("used_by_default pci_bus_id driver_free_bytes")
    processor = fields("name cores threads usable_cores usable_threads quota features")
    memory = fields("total_bytes usable_bytes available_bytes swap_total_bytes swap_free_bytes")
    rates = fields("decode_bytes_per_second prompt_flops_per_second")
    steps = fields("operation_seconds element_bytes_per_second prompt_attention_flops_per_second")
    steps |= fields("decode_attention_flops_per_second unshared_attention_flops_per_second")
    assert keys(document) == {
        **fields("system architecture container gpus free_bytes model_ram_bytes"),
        "llama_cpp": fields("version backends features problem"),
        "nvml": {
            **fields("driver_version cuda_version problems"),
            "gpus": [{**gpu, "processes": [process]}],
        },
        "processor": {**processor, **fields("performance_cores efficiency_cores")},
        "memory": {**memory, "cgroup": fields("group limit_bytes used_bytes")},
        "disk": fields("path free_bytes total_bytes"),
        "notices": [fields("level message command prebuilt")],
        "cards": [fields("vendor name pci_bus_id driver integrated total_bytes free_bytes")],
        "devices": [{**device, "processes": [process]}],
        "bandwidth": {
            **fields("ram_bytes_per_second threads problems measured_at cached"),
            "devices": fields("CUDA0 CPU"),
            "steps": {"CPU": steps},
            "throughput": {"CUDA0": {"Q4_K": rates}, "CPU": {"F32": rates, "F16": rates}},
        },
    }
    assert document["gpus"] == ["CUDA0"]
    assert document["free_bytes"] == 50 * GIB


def test_the_documentation_names_the_keys(readings: RecordedReadings) -> None:
    page = (Path(__file__).parent.parent.parent / "docs/fit.md").read_text()
    keys = page.partition("with the keys `system`")[2].partition("\n\n")[0]
    for key in json.loads(run("--json")):
        assert key == "system" or f"`{key}`" in keys, key


def test_measuring_again_is_asked_for(
    readings: RecordedReadings, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bool] = []

    def measure(*_: object, refresh: bool, **__: object) -> Bandwidth:
        asked.append(refresh)
        return BANDWIDTH

    monkeypatch.setattr(command, "measure_bandwidth", measure)
    run("--json")
    run("--json", "--refresh")
    assert asked == [False, True]
