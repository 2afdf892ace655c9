"""Limits of control groups as kernels and containers of all kinds show them."""

from __future__ import annotations

import pytest

from localserve.planner.memory import MemoryLimit, read_memory
from localserve.planner.readings import Amounts
from tests.planner.recorded import GIB, RecordedReadings

MIB = 1 << 20
MEMINFO = """MemTotal:       67108864 kB
MemFree:         1048576 kB
MemAvailable:   50331648 kB
SwapTotal:       8388608 kB
SwapFree:        4194304 kB
HugePages_Total:       0"""
V2_MOUNT = "31 23 0:28 {root} /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate"
V1_MOUNT = "35 31 0:32 {root} /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory"


def version_2(readings: RecordedReadings, path: str, root: str = "/") -> None:
    readings.write("/proc/meminfo", MEMINFO)
    readings.write("/proc/self/cgroup", f"0::{path}")
    readings.write("/proc/self/mountinfo", V2_MOUNT.format(root=root))


def version_1(readings: RecordedReadings, path: str, root: str = "/") -> None:
    readings.write("/proc/meminfo", MEMINFO)
    readings.write("/proc/self/cgroup", f"5:cpu,cpuacct:/elsewhere\n4:memory:{path}\n0::/")
    mounts = [V1_MOUNT.format(root=root)]
    mounts.append("32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct")
    mounts.append("41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw")
    readings.write("/proc/self/mountinfo", "\n".join(mounts))


def group_2(
    readings: RecordedReadings, path: str, limit: str, current: int, stat: str = "", high: str = ""
) -> None:
    folder = f"/sys/fs/cgroup{path}"
    readings.write(f"{folder}/memory.max", limit)
    readings.write(f"{folder}/memory.high", high or "max")
    readings.write(f"{folder}/memory.current", str(current))
    readings.write(f"{folder}/memory.stat", stat)


def group_1(readings: RecordedReadings, path: str, limit: int, usage: int, stat: str = "") -> None:
    folder = f"/sys/fs/cgroup/memory{path}"
    readings.write(f"{folder}/memory.limit_in_bytes", str(limit))
    readings.write(f"{folder}/memory.usage_in_bytes", str(usage))
    readings.write(f"{folder}/memory.stat", stat)


def test_without_a_limit_it_is_what_the_kernel_says(readings: RecordedReadings) -> None:
    version_2(readings, "/")
    memory = read_memory(readings)
    assert (memory.total_bytes, memory.usable_bytes) == (64 * GIB, 64 * GIB)
    assert memory.available_bytes == 48 * GIB
    assert (memory.swap_total_bytes, memory.swap_free_bytes) == (8 * GIB, 4 * GIB)
    assert memory.cgroup is None


def test_a_limit_counts_what_is_used_but_not_caches_of_files(readings: RecordedReadings) -> None:
    version_2(readings, "/box")
    stat = f"anon {3 * GIB}\nfile {2 * GIB}\ninactive_file {GIB}\nactive_file {512 * MIB}"
    group_2(readings, "/box", str(8 * GIB), 5 * GIB, f"{stat}\nslab_reclaimable {512 * MIB}\nx y")
    memory = read_memory(readings)
    assert memory.total_bytes == 64 * GIB
    assert memory.usable_bytes == 8 * GIB
    assert memory.available_bytes == 5 * GIB
    assert memory.cgroup == MemoryLimit("/sys/fs/cgroup/box", 8 * GIB, 3 * GIB)


def test_what_the_machine_has_left_counts_if_it_is_less(readings: RecordedReadings) -> None:
    version_2(readings, "/box")
    group_2(readings, "/box", str(60 * GIB), GIB)
    memory = read_memory(readings)
    assert (memory.usable_bytes, memory.available_bytes) == (60 * GIB, 48 * GIB)


def test_a_limit_above_the_group_counts_too(readings: RecordedReadings) -> None:
    version_2(readings, "/user.slice/app.scope")
    group_2(readings, "/user.slice/app.scope", str(16 * GIB), 2 * GIB)
    group_2(readings, "/user.slice", str(20 * GIB), 18 * GIB)
    memory = read_memory(readings)
    assert (memory.usable_bytes, memory.available_bytes) == (16 * GIB, 2 * GIB)
    assert memory.cgroup is not None
    assert memory.cgroup.group == "/sys/fs/cgroup/user.slice"


def test_the_throttling_limit_counts_like_the_hard_one(readings: RecordedReadings) -> None:
    version_2(readings, "/box")
    group_2(readings, "/box", "max", GIB, high=str(4 * GIB))
    assert read_memory(readings).available_bytes == 3 * GIB


def test_a_group_over_its_limit_has_nothing(readings: RecordedReadings) -> None:
    version_2(readings, "/box")
    group_2(readings, "/box", str(GIB), 2 * GIB)
    assert read_memory(readings).available_bytes == 0


def test_a_container_with_a_namespace_sees_its_limit_at_the_root(
    readings: RecordedReadings,
) -> None:
    version_2(readings, "/")
    group_2(readings, "", str(2 * GIB), GIB)
    assert read_memory(readings).available_bytes == GIB


@pytest.mark.parametrize("own", ["/docker/abc", "/docker/abc/inner"])
def test_a_container_without_a_namespace_has_a_path_that_starts_outside(
    readings: RecordedReadings, own: str
) -> None:
    version_2(readings, own, root="/docker/abc")
    group_2(readings, "", str(2 * GIB), GIB)
    assert read_memory(readings).available_bytes == GIB


def test_a_path_that_leaves_the_mounted_tree_does_not_leave_the_mount(
    readings: RecordedReadings,
) -> None:
    version_2(readings, "/../../etc", root="/")
    group_2(readings, "", str(2 * GIB), GIB)
    assert read_memory(readings).available_bytes == GIB


def test_version_1_counts_with_the_groups_below(readings: RecordedReadings) -> None:
    version_1(readings, "/docker/abc")
    stat = f"inactive_file 1\ntotal_inactive_file {GIB}\ntotal_active_file {GIB}"
    group_1(readings, "/docker/abc", 8 * GIB, 5 * GIB, stat)
    group_1(readings, "/docker", 9223372036854771712, 30 * GIB)
    group_1(readings, "", 9223372036854771712, 40 * GIB)
    memory = read_memory(readings)
    assert (memory.usable_bytes, memory.available_bytes) == (8 * GIB, 5 * GIB)


def test_version_1_without_a_namespace(readings: RecordedReadings) -> None:
    version_1(readings, "/docker/abc", root="/docker/abc")
    group_1(readings, "", 4 * GIB, GIB)
    assert read_memory(readings).available_bytes == 3 * GIB


def test_the_mount_point_may_have_spaces(readings: RecordedReadings) -> None:
    readings.write("/proc/meminfo", MEMINFO)
    readings.write("/proc/self/cgroup", "0::/")
    readings.write("/proc/self/mountinfo", r"31 23 0:28 / /my\040groups rw - cgroup2 cgroup2 rw")
    readings.write("/my groups/memory.max", str(GIB))
    assert read_memory(readings).usable_bytes == GIB


@pytest.mark.parametrize("text", ["", "0", "nonsense", "0::", "::::", "4:memory:relative"])
def test_nonsense_is_no_limit(readings: RecordedReadings, text: str) -> None:
    readings.write("/proc/meminfo", MEMINFO)
    readings.write("/proc/self/cgroup", text)
    readings.write("/proc/self/mountinfo", f"{text}\n{V1_MOUNT.format(root='/')}\n - cgroup2\n1 -")
    assert read_memory(readings).available_bytes == 48 * GIB


def test_a_kernel_that_does_not_say_what_is_available_is_left_to_psutil(
    readings: RecordedReadings,
) -> None:
    readings.write("/proc/meminfo", "MemTotal: 1024 kB\nMemFree: 12 kB")
    assert read_memory(readings).available_bytes == 48 * GIB


@pytest.mark.parametrize("system", ["Darwin", "Windows"])
def test_other_systems_are_asked_through_psutil(readings: RecordedReadings, system: str) -> None:
    readings.system = system
    readings.memory_amounts = Amounts(32 * GIB, 20 * GIB)
    version_2(readings, "/")  # not theirs
    memory = read_memory(readings)
    assert (memory.total_bytes, memory.available_bytes) == (32 * GIB, 20 * GIB)
    assert (memory.swap_total_bytes, memory.swap_free_bytes) == (8 * GIB, 6 * GIB)
    assert memory.cgroup is None
