"""Which programs a user could close to get memory back."""

from __future__ import annotations

import os
from types import SimpleNamespace

import psutil
import pytest

from localserve.planner.machine import Program
from localserve.planner.programs import MOST_PROGRAMS, big_programs

MIB = 1 << 20


def process(name: str, rss_mib: int, *, shared_mib: int = 0, pid: int = 1) -> SimpleNamespace:
    memory = SimpleNamespace(rss=rss_mib * MIB, shared=shared_mib * MIB)
    return SimpleNamespace(info={"pid": pid, "name": name, "memory_info": memory})


def test_processes_of_one_name_count_together_without_what_they_share(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hidden = SimpleNamespace(info={"pid": 2, "name": "hidden", "memory_info": None})
    running = [
        process("browser", 400, shared_mib=100),
        process("browser", 600),
        process("editor", 500),
        process("blender", 3_000),
        process("localserve", 9_000, pid=os.getpid()),
        hidden,
    ]
    monkeypatch.setattr(psutil, "process_iter", lambda fields: iter(running))
    assert big_programs() == (Program("blender", 3_000 * MIB), Program("browser", 900 * MIB))


def test_only_the_largest_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    running = [process(f"p{number}", 1_000 + number) for number in range(9)]
    monkeypatch.setattr(psutil, "process_iter", lambda fields: iter(running))
    assert [one.name for one in big_programs()] == ["p8", "p7", "p6", "p5", "p4"][:MOST_PROGRAMS]
