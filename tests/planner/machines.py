"""Machines that nobody has: sizes and rates as a test wants them."""

from __future__ import annotations

from dataclasses import replace

from localserve.planner.bandwidth import Throughput
from localserve.planner.machine import Machine, imagined

GIB = 1 << 30
RATES = {"Q4_K": Throughput(40e9, 400e9), "F16": Throughput(50e9, 300e9)}


def machine(*gpu_gib: float, ram_gib: float = 64) -> Machine:
    """GPUs and RAM of so many GiB with nothing kept free, so that sizes are the room itself."""
    made = imagined(tuple(int(size * GIB) for size in gpu_gib), int(ram_gib * GIB))
    gpus = tuple(replace(gpu, margin_bytes=0) for gpu in made.gpus)
    return replace(made, ram=replace(made.ram, margin_bytes=0, rates=RATES), gpus=gpus)
