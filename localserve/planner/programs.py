"""Other programs that hold much of the machine's memory, by name: what a user could close.

Nothing raises; programs that may not be looked at are not there. Any thread.
"""

from __future__ import annotations

import os
from collections import Counter

import psutil

from localserve.planner.machine import Program

LEAST_BYTES = 512 << 20
MOST_PROGRAMS = 5


def big_programs() -> tuple[Program, ...]:
    """The largest, processes of one name together; what they share with others does not count."""
    sizes: Counter[str] = Counter()
    for process in psutil.process_iter(["pid", "name", "memory_info"]):
        information = process.info
        memory = information["memory_info"]
        if information["pid"] == os.getpid() or memory is None or not information["name"]:
            continue
        sizes[information["name"]] += max(0, memory.rss - getattr(memory, "shared", 0))
    return tuple(
        Program(name, size)
        for name, size in sizes.most_common(MOST_PROGRAMS)
        if size >= LEAST_BYTES
    )
