"""The places that a model may lie in, with their room and their speed: what a plan is made for.

One is made of this machine's measurements, or of sizes that somebody asks about. Pure.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from localserve.planner.bandwidth import NO_STEPS, Bandwidth, StepRates, Throughput, machine_key
from localserve.planner.devices import Device
from localserve.planner.hardware import Hardware
from localserve.planner.usage import RAM, Beside, MemoryUsage

GIB = 1 << 30

GPU_MARGIN_BYTES = GIB
"""Kept free on a GPU: what its driver takes beyond what llama.cpp counts, and other programs."""

RAM_MARGIN_BYTES = GIB // 2
RAM_MARGIN_SHARE = 20
"""A twentieth of RAM, and half a GiB at least, is left to other programs."""

PROCESS_BYTES = 256 << 20
"""What the serving process takes in RAM besides the model: interpreter, libraries, buffers."""


@dataclass(frozen=True, slots=True)
class Program:
    """Another program that has memory in a place. `used_bytes` None where the driver is silent."""

    name: str
    used_bytes: int | None


@dataclass(frozen=True, slots=True)
class Place:
    """A device and the memory it computes from. `rates` by type of weights (F32, F16, Q4_K ...),
    `steps` for all besides.

    A `unified` GPU has no memory of its own: what lies there takes RAM's room as well.
    `bound_bytes` is the most that may be planned with, whatever is free (None: all).
    """

    name: str
    description: str
    total_bytes: int
    free_bytes: int
    margin_bytes: int
    rates: Mapping[str, Throughput]
    unified: bool = False
    steps: StepRates = NO_STEPS
    programs: tuple[Program, ...] = ()
    bound_bytes: int | None = None

    @property
    def title(self) -> str:
        """What people call it: llama.cpp's 'CPU' is where RAM is."""
        return "RAM" if self.name == RAM else self.name

    @property
    def room_bytes(self) -> int:
        """What a model may take here."""
        return self._within_bound(max(0, self.free_bytes - self.margin_bytes))

    @property
    def most_bytes(self) -> int:
        """What a model could take if nothing were left to others."""
        return self._within_bound(self.free_bytes)

    @property
    def is_bounded(self) -> bool:
        """Whether it is the bound that room ends at."""
        return self.bound_bytes is not None and self.room_bytes == self.bound_bytes

    def _within_bound(self, size_bytes: int) -> int:
        return size_bytes if self.bound_bytes is None else min(size_bytes, self.bound_bytes)


@dataclass(frozen=True, slots=True)
class Load:
    """What a model would take of one place, all counted.

    `shared_bytes` of it lie on GPUs that have no memory but this; they are that GPU's load, too,
    which bounds how much of this memory it may use.
    """

    place: str
    needed_bytes: int
    room_bytes: int
    shared_bytes: int = 0

    @property
    def headroom_bytes(self) -> int:
        """What would be left; below zero it does not fit."""
        return self.room_bytes - self.needed_bytes


@dataclass(frozen=True, slots=True)
class Machine:
    """RAM and the GPUs. `imagined` says that it is not this one: sizes and rates are assumed.

    `surcharge` is the share that a model takes beyond what is predicted, as earlier loads taught.
    `key` names the hardware and software that the rates were measured of.
    """

    ram: Place
    gpus: tuple[Place, ...] = ()
    imagined: bool = False
    surcharge: float = 0.0
    key: str = ""

    @property
    def places(self) -> tuple[Place, ...]:
        return (*self.gpus, self.ram)

    @property
    def gpu_names(self) -> tuple[str, ...]:
        return tuple(gpu.name for gpu in self.gpus)

    @property
    def backend(self) -> str:
        """What computes: the first GPU's kind ('CUDA', 'MTL'), else 'CPU'."""
        return self.gpus[0].name.rstrip("0123456789") if self.gpus else RAM

    def place(self, name: str) -> Place:
        """The place of that name; RAM for every name that no GPU has."""
        return next((gpu for gpu in self.gpus if gpu.name == name), self.ram)

    def loads(self, usage: MemoryUsage) -> tuple[Load, ...]:
        """What the usage takes of each place, GPUs first. RAM also holds the output,
        checkpoints, the process, and what lies on GPUs without memory of their own, charged there
        once."""
        gpus = [Load(gpu.name, self._taken(usage, gpu.name), gpu.room_bytes) for gpu in self.gpus]
        parts: tuple[MemoryUsage | Beside, ...] = (usage, *usage.beside)
        named = {RAM} | {device.device for part in parts for device in part.devices}
        own = sum(self._taken(usage, name) for name in named if self.place(name) is self.ram)
        shared = sum(self._taken(usage, gpu.name) for gpu in self.gpus if gpu.unified)
        in_ram = own + shared + usage.output_bytes + usage.checkpoint_bytes + PROCESS_BYTES
        return (*gpus, Load(self.ram.name, in_ram, self.ram.room_bytes, shared))

    def _taken(self, usage: MemoryUsage, name: str) -> int:
        """What lies on a device; lessons are of models, not of their companions."""
        return self._with_surcharge(usage.of(name).total_bytes) + usage.beside_on(name)

    def _with_surcharge(self, size_bytes: int) -> int:
        return math.ceil(size_bytes * (1 + self.surcharge))


TYPICAL_CPU = {
    "F16": Throughput(40e9, 200e9),
    "Q8_0": Throughput(40e9, 250e9),
    "Q4_K": Throughput(35e9, 250e9),
}
"""A desktop with two channels of DDR5 and eight cores."""

TYPICAL_GPU = {
    "F16": Throughput(350e9, 20e12),
    "Q8_0": Throughput(350e9, 20e12),
    "Q4_K": Throughput(320e9, 20e12),
}
"""A consumer card of the middle class."""


def machine_of(
    hardware: Hardware, bandwidth: Bandwidth, programs: tuple[Program, ...] = ()
) -> Machine:
    """This machine: what is free on it now, and the rates that were measured. `programs` are the
    others that hold much of RAM; those on GPUs the drivers tell. RAM is bounded by what models may
    take of it, which the process is not a part of."""
    memory, bound = hardware.memory, hardware.model_ram_bytes
    processor = next((one.name for one in hardware.devices if one.kind == "cpu"), RAM)
    ram = Place(
        name=RAM,
        description=hardware.processor.name,
        total_bytes=memory.usable_bytes,
        free_bytes=memory.available_bytes,
        margin_bytes=ram_margin(memory.usable_bytes),
        rates=bandwidth.throughput.get(processor, {}),
        steps=bandwidth.steps.get(processor, NO_STEPS),
        programs=programs,
        bound_bytes=None if bound is None else bound + PROCESS_BYTES,
    )
    gpus = tuple(_gpu(device, bandwidth) for device in hardware.gpus)
    return Machine(ram, gpus, key=machine_key(hardware, bandwidth.threads))


def _gpu(device: Device, bandwidth: Bandwidth) -> Place:
    """A GPU without memory of its own keeps no margin: RAM's counts."""
    return Place(
        name=device.name,
        description=device.description,
        total_bytes=device.total_bytes,
        free_bytes=device.free_bytes,
        margin_bytes=0 if device.unified else GPU_MARGIN_BYTES,
        rates=bandwidth.throughput.get(device.name, {}),
        steps=bandwidth.steps.get(device.name, NO_STEPS),
        unified=device.unified,
        programs=tuple(
            Program(process.name or f"process {process.pid}", process.used_bytes)
            for process in device.processes
        ),
    )


def emptied(machine: Machine) -> Machine:
    """The machine if no program held any of its memory."""

    def empty(place: Place) -> Place:
        return replace(place, free_bytes=place.total_bytes, programs=())

    return replace(machine, ram=empty(machine.ram), gpus=tuple(map(empty, machine.gpus)))


def imagined(gpu_bytes: tuple[int, ...], ram_bytes: int) -> Machine:
    """A machine of which only sizes are known: all of its memory is taken as free, its rates are
    usual ones."""
    gpus = tuple(
        Place(f"GPU{index}", "a GPU", size, size, GPU_MARGIN_BYTES, TYPICAL_GPU)
        for index, size in enumerate(gpu_bytes)
    )
    margin = ram_margin(ram_bytes)
    ram = Place(RAM, "RAM", ram_bytes, ram_bytes, margin, TYPICAL_CPU)
    return Machine(ram, gpus, imagined=True)


def ram_margin(total_bytes: int) -> int:
    """What of RAM is left to others."""
    return max(RAM_MARGIN_BYTES, total_bytes // RAM_MARGIN_SHARE)
