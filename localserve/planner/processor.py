"""The processor: which cores this process may use, and which instructions llama.cpp can use."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass

from localserve.planner.cgroup import groups, number
from localserve.planner.readings import Readings

FEATURES = {
    "avx": "AVX",
    "avx2": "AVX2",
    "avx_vnni": "AVX-VNNI",
    "fma": "FMA",
    "f16c": "F16C",
    "avx512f": "AVX512",
    "avx512_vnni": "AVX512-VNNI",
    "avx512_bf16": "AVX512-BF16",
    "amx_tile": "AMX",
    "amx_int8": "AMX-INT8",
    "asimd": "NEON",
    "asimdhp": "FP16",
    "asimddp": "DOTPROD",
    "i8mm": "I8MM",
    "bf16": "BF16",
    "sve": "SVE",
    "sve2": "SVE2",
    "sme": "SME",
}
"""Linux's names of features that llama.cpp has code for, and ours."""

APPLE_FEATURES = {
    "hw.optional.neon": "NEON",
    "hw.optional.arm.FEAT_FP16": "FP16",
    "hw.optional.arm.FEAT_DotProd": "DOTPROD",
    "hw.optional.arm.FEAT_I8MM": "I8MM",
    "hw.optional.arm.FEAT_BF16": "BF16",
    "hw.optional.arm.FEAT_SME": "SME",
    "hw.optional.avx2_0": "AVX2",
    "hw.optional.avx512f": "AVX512",
}

GGML_FEATURES = {"AMX_INT8": "AMX-INT8", "MATMUL_INT8": "I8MM", "FP16_VA": "FP16"}
"""ggml's names where they are not ours."""


@dataclass(frozen=True, slots=True)
class Processor:
    """`cores` are physical ones, `threads` logical; `usable_` what affinity, a control group's
    quota and the machine leave to this process. `performance_cores` and `efficiency_cores` are
    None where the cores are all alike or the system does not tell. `features` use our names.
    """

    name: str
    cores: int
    threads: int
    usable_cores: int
    usable_threads: int
    quota: float | None
    performance_cores: int | None
    efficiency_cores: int | None
    features: tuple[str, ...]


def read_processor(readings: Readings, described: str, compiled_for: tuple[str, ...]) -> Processor:
    """`described` is llama.cpp's name of the CPU, and `compiled_for` what its build uses of it:
    what stands in where the system tells less (Windows)."""
    quota = _quota(readings)
    usable_cores, usable_threads = _usable(readings, quota)
    performance, efficiency = _kinds_of_cores(readings)
    return Processor(
        name=_name(readings) or described or readings.architecture,
        cores=readings.cores(),
        threads=readings.processors(),
        usable_cores=usable_cores,
        usable_threads=usable_threads,
        quota=quota,
        performance_cores=performance,
        efficiency_cores=efficiency,
        features=_features(readings) or compiled_for,
    )


def usable_cores(readings: Readings | None = None) -> int:
    """The physical cores that this process may use: as many threads compute fastest."""
    readings = readings or Readings()
    return _usable(readings, _quota(readings))[0]


def _usable(readings: Readings, quota: float | None) -> tuple[int, int]:
    """Physical cores and logical processors that affinity and a quota leave."""
    cores, threads = readings.cores(), readings.processors()
    allowed = readings.allowed_processors()
    if allowed is not None:
        threads = min(len(allowed), threads)
        cores = min(cores, threads, _distinct_cores(readings, allowed) or cores)
    if quota is not None:
        # A thread more than the quota has processors stands still a part of every period.
        whole = max(1, math.floor(quota))
        cores, threads = min(cores, whole), min(threads, whole)
    return cores, threads


def our_names(ggml_features: list[str]) -> tuple[str, ...]:
    """What a build of llama.cpp uses of the processor, by our names."""
    known = {*FEATURES.values()}
    names = (GGML_FEATURES.get(name, name.replace("_", "-")) for name in ggml_features)
    return tuple(name for name in names if name in known)


def _name(readings: Readings) -> str:
    if readings.system == "Darwin":
        return _sysctl(readings, "machdep.cpu.brand_string") or ""
    information = readings.text("/proc/cpuinfo") or ""
    for key in ("model name", "cpu model", "cpu"):
        if found := re.search(rf"^{key}\s*:\s*(\S.*)$", information, re.MULTILINE):
            return found[1].strip()
    return ""


def _features(readings: Readings) -> tuple[str, ...]:
    if readings.system == "Darwin":
        return tuple(name for key, name in APPLE_FEATURES.items() if _sysctl(readings, key) == "1")
    information = readings.text("/proc/cpuinfo") or ""
    found = re.search(r"^(?:flags|Features)\s*:(.*)$", information, re.MULTILINE)
    present = set(found[1].split()) if found else set()
    return tuple(name for key, name in FEATURES.items() if key in present)


def _quota(readings: Readings) -> float | None:
    """Processors' worth of time that the control groups leave; None where unlimited."""
    if readings.system != "Linux":
        return None
    quotas = []
    for group in groups(readings, "cpu"):
        if group.version == 2:
            limit, _, period = (readings.text(f"{group.path}/cpu.max") or "").partition(" ")
            if limit.isdecimal() and period.isdecimal() and int(period):
                quotas.append(int(limit) / int(period))
        else:
            limit_us = number(readings, group, "cpu.cfs_quota_us") or -1
            period_us = number(readings, group, "cpu.cfs_period_us")
            if limit_us > 0 and period_us:
                quotas.append(limit_us / period_us)
    return min(quotas, default=None)


def _distinct_cores(readings: Readings, allowed: frozenset[int]) -> int | None:
    """How many cores the allowed logical processors belong to; None where that is not known."""
    cores = set()
    for index in allowed:
        folder = f"/sys/devices/system/cpu/cpu{index}/topology"
        core = readings.text(f"{folder}/core_id")
        if core is None:
            return None
        cores.add((readings.text(f"{folder}/physical_package_id"), core))
    return len(cores) or None


def _kinds_of_cores(readings: Readings) -> tuple[int | None, int | None]:
    """Physical performance and efficiency cores of the machine.

    Source: Intel's hybrid processors have two event sources on Linux, ARM's differ in
    cpu_capacity; macOS counts by performance level, fastest first.
    """
    if readings.system == "Darwin":
        counts = [_sysctl(readings, f"hw.perflevel{level}.physicalcpu") for level in (0, 1)]
        fast, slow = (int(count) if count and count.isdecimal() else None for count in counts)
        return (fast, slow) if slow else (None, None)
    fast_ones = list(_range_list(readings.text("/sys/devices/cpu_core/cpus")))
    slow_ones = list(_range_list(readings.text("/sys/devices/cpu_atom/cpus")))
    if fast_ones and slow_ones:
        fast = _distinct_cores(readings, frozenset(fast_ones)) or len(fast_ones)
        return fast, _distinct_cores(readings, frozenset(slow_ones)) or len(slow_ones)
    capacities = _capacities(readings)
    if len(set(capacities)) > 1:
        slow = sum(capacity == min(capacities) for capacity in capacities)
        return len(capacities) - slow, slow
    return None, None


def _capacities(readings: Readings) -> list[str]:
    found = []
    for name in readings.names("/sys/devices/system/cpu"):
        if re.fullmatch(r"cpu\d+", name):
            capacity = readings.text(f"/sys/devices/system/cpu/{name}/cpu_capacity")
            if capacity is not None:
                found.append(capacity.rjust(8, "0"))
    return found


def _range_list(text: str | None) -> Iterator[int]:
    """The numbers of '0-3,8'."""
    for part in re.findall(r"(\d+)(?:-(\d+))?", text or ""):
        yield from range(int(part[0]), int(part[1] or part[0]) + 1)


def _sysctl(readings: Readings, name: str) -> str | None:
    return readings.command("sysctl", "-n", name)
