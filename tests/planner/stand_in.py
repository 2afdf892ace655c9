"""Answers in llama.cpp's place: quickly, and not quite as the formula has it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from localserve.catalog.headers import read_local
from localserve.planner.dry_run import Refused
from localserve.planner.formula import estimate
from localserve.planner.runtime import Runtime
from localserve.planner.usage import MemoryUsage


def counted(model: Path, runtimes: Sequence[Runtime]) -> list[MemoryUsage | Refused]:
    """The formula's numbers for a file on a machine without a GPU, and a tenth more to compute."""
    facts = read_local(model).facts
    return [_more(estimate(facts, runtime)) for runtime in runtimes]


def _more(usage: MemoryUsage) -> MemoryUsage:
    devices = [replace(one, compute_bytes=one.compute_bytes * 11 // 10) for one in usage.devices]
    return replace(usage, devices=tuple(devices))
