"""The places that a model may lie in, with their room and their speed: what a plan is made for.

One is made of this machine's measurements, or of sizes that somebody asks about. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from localserve.planner.usage import RAM

GIB = 1 << 30

GPU_MARGIN_BYTES = GIB
"""Kept free on a GPU: what its driver takes beyond what llama.cpp counts, and other programs."""

RAM_MARGIN_BYTES = GIB // 2
RAM_MARGIN_SHARE = 20
"""A twentieth of RAM, and half a GiB at least, is left to other programs."""


@dataclass(frozen=True, slots=True)
class Rate:
    """One type of weights on one device: bytes read per second while answers are made, and
    operations per second (2 per weight and token) while a prompt is computed."""

    decode_bytes_per_second: float
    prompt_flops_per_second: float


@dataclass(frozen=True, slots=True)
class Place:
    """A device with memory of its own. `rates` by type of weights (F32, F16, Q8_0, Q4_K ...)."""

    name: str
    description: str
    total_bytes: int
    free_bytes: int
    margin_bytes: int
    rates: Mapping[str, Rate]

    @property
    def room_bytes(self) -> int:
        """What a model may take here."""
        return max(0, self.free_bytes - self.margin_bytes)


@dataclass(frozen=True, slots=True)
class Machine:
    """RAM and the GPUs with memory of their own. `unified` GPUs use RAM's room.

    `measured` says that the rates were measured here and not taken from a table.
    """

    ram: Place
    gpus: tuple[Place, ...]
    unified: bool
    measured: bool

    @property
    def places(self) -> tuple[Place, ...]:
        return (*self.gpus, self.ram)

    def place(self, name: str) -> Place:
        """The place of that name. Raises: KeyError."""
        for place in self.places:
            if place.name == name:
                return place
        raise KeyError(name)


TYPICAL_CPU = {
    "F16": Rate(40e9, 200e9),
    "Q8_0": Rate(40e9, 250e9),
    "Q4_K": Rate(35e9, 250e9),
}
"""A desktop with two channels of DDR5 and eight cores."""

TYPICAL_GPU = {
    "F16": Rate(350e9, 20e12),
    "Q8_0": Rate(350e9, 20e12),
    "Q4_K": Rate(320e9, 20e12),
}
"""A consumer card of the middle class."""


def imagined(gpu_bytes: tuple[int, ...], ram_bytes: int, measured_ram: Place | None) -> Machine:
    """A machine of which only sizes are known; all of its memory is taken as free.

    `measured_ram` lends its rates: the processor is taken to be like this one.
    """
    rates = measured_ram.rates if measured_ram and measured_ram.rates else TYPICAL_CPU
    gpus = tuple(
        Place(f"GPU{index}", "a GPU", size, size, GPU_MARGIN_BYTES, TYPICAL_GPU)
        for index, size in enumerate(gpu_bytes)
    )
    return Machine(
        Place(RAM, "RAM", ram_bytes, ram_bytes, ram_margin(ram_bytes), rates), gpus, False, False
    )


def ram_margin(total_bytes: int) -> int:
    """What of RAM is left to others."""
    return max(RAM_MARGIN_BYTES, total_bytes // RAM_MARGIN_SHARE)
