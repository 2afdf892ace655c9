"""How much memory there is for models: the machine's, a container's limit, swap."""

from __future__ import annotations

import re
from dataclasses import dataclass

from localserve.planner.cgroup import Group, groups, number, statistics
from localserve.planner.readings import Amounts, Readings

RECLAIMABLE = ("inactive_file", "active_file", "slab_reclaimable")
"""What a group's usage counts and the kernel gives back when asked: caches of files."""


@dataclass(frozen=True, slots=True)
class MemoryLimit:
    """The control group that leaves the least: its limit, and what is in use of it for good."""

    group: str
    limit_bytes: int
    used_bytes: int

    @property
    def available_bytes(self) -> int:
        return max(0, self.limit_bytes - self.used_bytes)


@dataclass(frozen=True, slots=True)
class Memory:
    """The host's memory.

    `usable_bytes` is the most that this process may ever have (the machine's memory or a smaller
    limit), `available_bytes` what it may have now without pushing anything out. Swap is for
    information: weights in swap are no use.
    """

    total_bytes: int
    usable_bytes: int
    available_bytes: int
    swap_total_bytes: int
    swap_free_bytes: int
    cgroup: MemoryLimit | None


def read_memory(readings: Readings) -> Memory:
    """Linux from /proc/meminfo and the control groups, all others from psutil."""
    linux = readings.system == "Linux"
    information = _meminfo(readings) if linux else {}
    memory = _amounts(information, "MemTotal", "MemAvailable") or readings.memory()
    swap = _amounts(information, "SwapTotal", "SwapFree") or readings.swap()
    limits = _limits(readings, memory.total_bytes) if linux else []
    tightest = min(limits, key=lambda limit: limit.available_bytes, default=None)
    return Memory(
        total_bytes=memory.total_bytes,
        usable_bytes=min([memory.total_bytes, *(limit.limit_bytes for limit in limits)]),
        available_bytes=min([memory.free_bytes, *(limit.available_bytes for limit in limits)]),
        swap_total_bytes=swap.total_bytes,
        swap_free_bytes=swap.free_bytes,
        cgroup=tightest,
    )


def _meminfo(readings: Readings) -> dict[str, int]:
    text = readings.text("/proc/meminfo") or ""
    lines = re.findall(r"^(\w+):\s+(\d+) kB$", text, re.MULTILINE)
    return {name: int(kilobytes) * 1024 for name, kilobytes in lines}


def _amounts(information: dict[str, int], total: str, free: str) -> Amounts | None:
    if total in information and free in information:
        return Amounts(information[total], information[free])
    return None


def _limits(readings: Readings, total_bytes: int) -> list[MemoryLimit]:
    """The limits on the way to the root that are smaller than the machine, innermost first."""
    found = []
    for group in groups(readings, "memory"):
        limit = _limit(readings, group)
        if limit is not None and limit < total_bytes:
            found.append(MemoryLimit(group.path, limit, _used(readings, group)))
    return found


def _limit(readings: Readings, group: Group) -> int | None:
    if group.version == 1:
        return number(readings, group, "memory.limit_in_bytes")
    # Above memory.high a process is slowed down until it is of no use.
    limits = (number(readings, group, name) for name in ("memory.max", "memory.high"))
    return min((limit for limit in limits if limit is not None), default=None)


def _used(readings: Readings, group: Group) -> int:
    name = "memory.usage_in_bytes" if group.version == 1 else "memory.current"
    usage = number(readings, group, name) or 0
    prefix = "total_" if group.version == 1 else ""  # with the groups below
    counted = statistics(readings, group, "memory.stat")
    return max(0, usage - sum(counted.get(prefix + key, 0) for key in RECLAIMABLE))
