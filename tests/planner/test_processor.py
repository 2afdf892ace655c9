"""Cores and features as Linux, macOS and Windows tell them."""

from __future__ import annotations

import os

import pytest

from localserve.planner.processor import Processor, our_names, read_processor, usable_cores
from tests.planner.recorded import RecordedReadings

X86 = """processor\t: 0
model name\t: AMD Ryzen 7 7700X 8-Core Processor
flags\t\t: fpu sse2 fma avx f16c avx2 avx512f avx512_vnni avx512_bf16

processor\t: 1
model name\t: AMD Ryzen 7 7700X 8-Core Processor
flags\t\t: fpu"""
ARM = """processor\t: 0
BogoMIPS\t: 108.00
Features\t: fp asimd aes fphp asimdhp asimddp sve i8mm bf16
CPU implementer\t: 0x41"""
CPU_MOUNTS = """31 23 0:28 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw
32 31 0:29 / /v1 rw - cgroup cgroup rw,cpu,cpuacct"""


def read(readings: RecordedReadings, described: str = "", *compiled_for: str) -> Processor:
    return read_processor(readings, described, compiled_for)


def topology(readings: RecordedReadings, cores: list[int], package: int = 0) -> None:
    """The core that each logical processor belongs to."""
    for index, core in enumerate(cores):
        folder = f"/sys/devices/system/cpu/cpu{index}/topology"
        readings.write(f"{folder}/core_id", str(core))
        readings.write(f"{folder}/physical_package_id", str(package))


def test_x86(readings: RecordedReadings) -> None:
    readings.write("/proc/cpuinfo", X86)
    assert read(readings, "whatever llama.cpp says", "AVX") == Processor(
        name="AMD Ryzen 7 7700X 8-Core Processor",
        cores=8,
        threads=16,
        usable_cores=8,
        usable_threads=16,
        quota=None,
        performance_cores=None,
        efficiency_cores=None,
        features=("AVX", "AVX2", "FMA", "F16C", "AVX512", "AVX512-VNNI", "AVX512-BF16"),
    )


def test_arm_has_no_name_but_llama_cpps(readings: RecordedReadings) -> None:
    readings.write("/proc/cpuinfo", ARM)
    processor = read(readings, "Cortex-X3")
    assert processor.name == "Cortex-X3"
    assert processor.features == ("NEON", "FP16", "DOTPROD", "I8MM", "BF16", "SVE")


def test_nothing_known_at_all_is_still_a_processor(readings: RecordedReadings) -> None:
    processor = read(readings)
    assert (processor.name, processor.features) == ("x86_64", ())


def test_affinity_leaves_fewer_cores_than_threads(readings: RecordedReadings) -> None:
    topology(readings, [0, 1, 2, 3, 0, 1, 2, 3])
    readings.cores_counted, readings.processors_counted = 4, 8
    readings.processors_allowed = frozenset({0, 1, 4})
    processor = read(readings)
    assert (processor.usable_cores, processor.usable_threads) == (2, 3)
    assert (processor.cores, processor.threads) == (4, 8)


def test_affinity_without_a_known_topology(readings: RecordedReadings) -> None:
    readings.processors_allowed = frozenset({0, 1, 4})
    assert read(readings).usable_cores == 3


@pytest.mark.parametrize(
    ("limits", "quota", "cores"),
    [
        ({"/a/b": "200000 100000", "/a": "max 100000"}, 2.0, 2),
        ({"/a/b": "max 100000", "/a": "350000 100000"}, 3.5, 3),
        ({"/a/b": "50000 100000"}, 0.5, 1),
        ({"/a/b": "max 100000"}, None, 8),
        ({"/a/b": "garbage"}, None, 8),
        ({"/a/b": "1000 0"}, None, 8),
    ],
)
def test_a_quota_of_version_2(
    readings: RecordedReadings, limits: dict[str, str], quota: float | None, cores: int
) -> None:
    readings.write("/proc/self/cgroup", "0::/a/b")
    readings.write("/proc/self/mountinfo", CPU_MOUNTS)
    for path, limit in limits.items():
        readings.write(f"/sys/fs/cgroup{path}/cpu.max", limit)
    processor = read(readings)
    assert (processor.quota, processor.usable_cores) == (quota, cores)


@pytest.mark.parametrize(
    ("quota_us", "quota", "cores"), [(600_000, 6.0, 6), (-1, None, 8), (2_000_000, 20.0, 8)]
)
def test_a_quota_of_version_1(
    readings: RecordedReadings, quota_us: int, quota: float | None, cores: int
) -> None:
    readings.write("/proc/self/cgroup", "3:cpu,cpuacct:/box")
    readings.write("/proc/self/mountinfo", CPU_MOUNTS)
    readings.write("/v1/box/cpu.cfs_quota_us", str(quota_us))
    readings.write("/v1/box/cpu.cfs_period_us", "100000")
    processor = read(readings)
    assert (processor.quota, processor.usable_cores) == (quota, cores)


def test_intels_two_kinds_of_cores(readings: RecordedReadings) -> None:
    topology(readings, [0, 0, 1, 1, 8, 9, 10, 11])
    readings.write("/sys/devices/cpu_core/cpus", "0-3")
    readings.write("/sys/devices/cpu_atom/cpus", "4-6,7")
    processor = read(readings)
    assert (processor.performance_cores, processor.efficiency_cores) == (2, 4)


def test_arms_two_kinds_of_cores(readings: RecordedReadings) -> None:
    for index, capacity in enumerate(["414", "414", "414", "414", "1024", "1024", "871"]):
        readings.write(f"/sys/devices/system/cpu/cpu{index}/cpu_capacity", capacity)
    readings.write("/sys/devices/system/cpu/cpufreq/cpu_capacity", "1")
    processor = read(readings)
    assert (processor.performance_cores, processor.efficiency_cores) == (3, 4)


def test_cores_of_one_capacity_are_alike(readings: RecordedReadings) -> None:
    for index in range(4):
        readings.write(f"/sys/devices/system/cpu/cpu{index}/cpu_capacity", "1024")
    assert read(readings).performance_cores is None


def apple(readings: RecordedReadings, **values: str) -> None:
    readings.system, readings.architecture = "Darwin", "arm64"
    for name, value in values.items():
        readings.commands["sysctl", "-n", name.replace("__", ".")] = value


def test_apple_silicon(readings: RecordedReadings) -> None:
    apple(
        readings,
        machdep__cpu__brand_string="Apple M3 Pro",
        hw__perflevel0__physicalcpu="6",
        hw__perflevel1__physicalcpu="6",
        hw__optional__neon="1",
        hw__optional__arm__FEAT_I8MM="1",
        hw__optional__arm__FEAT_SME="0",
    )
    processor = read(readings)
    assert processor.name == "Apple M3 Pro"
    assert (processor.performance_cores, processor.efficiency_cores) == (6, 6)
    assert processor.features == ("NEON", "I8MM")


def test_a_mac_with_one_kind_of_cores(readings: RecordedReadings) -> None:
    apple(readings, hw__perflevel0__physicalcpu="4")
    assert read(readings).performance_cores is None


def test_windows_is_known_by_what_llama_cpp_says(readings: RecordedReadings) -> None:
    readings.system, readings.architecture = "Windows", "AMD64"
    processor = read(readings, "13th Gen Intel(R) Core(TM) i7-13700K", "AVX2", "FMA")
    assert processor.name == "13th Gen Intel(R) Core(TM) i7-13700K"
    assert processor.features == ("AVX2", "FMA")


def test_ggmls_names_become_ours() -> None:
    found = ["SSE3", "AVX2", "AVX512_VNNI", "AMX_INT8", "MATMUL_INT8", "FP16_VA", "LLAMAFILE"]
    assert our_names(found) == ("AVX2", "AVX512-VNNI", "AMX-INT8", "I8MM", "FP16")


def test_a_model_is_served_with_as_many_threads_as_are_measured(readings: RecordedReadings) -> None:
    readings.processors_allowed = frozenset({0, 1, 4})
    assert usable_cores(readings) == read(readings).usable_cores == 3
    assert 1 <= usable_cores() <= (os.cpu_count() or 1)
