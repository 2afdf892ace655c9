"""Whether a model would run on this machine, from its header alone, in a line. Pure.

Rougher than a plan: all layers go to the GPUs if they fit there, else the memory of all devices
counts as one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from localserve.catalog.spec import ModelSpec
from localserve.config import Settings
from localserve.gguf.facts import GgufFacts
from localserve.planner.formula import estimate
from localserve.planner.hardware import Hardware
from localserve.planner.machine import GPU_MARGIN_BYTES, ram_margin
from localserve.planner.plan import checkpoint_room, runtime_of, wanted_by, wanted_of
from localserve.planner.runtime import Runtime
from localserve.planner.sizes import memory_text
from localserve.planner.usage import RAM, MemoryUsage

Level = Literal["fits", "not now", "too large"]
Place = Literal["the GPU", "the GPU and RAM", "RAM"]


@dataclass(frozen=True, slots=True)
class Room:
    """What models may take: on GPUs with memory of their own, and in RAM, which may be `bounded` by
    LOCALSERVE_MODEL_RAM_BYTES."""

    gpu_bytes: int
    ram_bytes: int
    bounded: bool = False

    @property
    def total_bytes(self) -> int:
        return self.gpu_bytes + self.ram_bytes


@dataclass(frozen=True, slots=True)
class Verdict:
    """`needed_bytes` with that context; `free_bytes` is the room now, `most_bytes` the room if no
    other program took any, as far as models may (`bounded`)."""

    level: Level
    place: Place
    needed_bytes: int
    free_bytes: int
    most_bytes: int
    context_tokens: int
    bounded: bool = False

    @property
    def text(self) -> str:
        """Such as 'needs 5.9 GiB of memory with 8192 tokens of context; 21.0 GiB are free: it fits
        in RAM'."""
        needed = f"needs {memory_text(self.needed_bytes)} of memory with {self.context_tokens}"
        needed += " tokens of context"
        free, most = memory_text(self.free_bytes), memory_text(self.most_bytes)
        match self.level:
            case "fits":
                return f"{needed}; {free} are free: it fits in {self.place}"
            case "not now":
                return f"{needed}; {free} of {most} are free: not now, other programs hold the rest"
            case "too large" if self.bounded:
                bound = f"LOCALSERVE_MODEL_RAM_BYTES leaves models {most}"
                return f"{needed}; {bound}: it cannot run here"
            case "too large":
                return f"{needed}; this machine has {most} for models: it cannot run here"


def judge(
    facts: GgufFacts, hardware: Hardware, settings: Settings, entry: ModelSpec | None = None
) -> Verdict:
    """The verdict on a model as `localserve up` would run it. `facts` must be loadable."""
    runtime = runtime_for(facts, settings, entry)
    checkpoints = checkpoint_room(facts, runtime, wanted_of(settings))
    free, most = free_room(hardware), most_room(hardware)
    gpus = [gpu.name for gpu in hardware.gpus if not gpu.unified]
    if gpus:
        usage = replace(estimate(facts, runtime, gpus), checkpoint_bytes=checkpoints)
        on_gpus = sum(one.total_bytes for one in usage.devices if one.device != RAM)
        rest = needed_bytes(usage) - on_gpus
        if on_gpus <= free.gpu_bytes and rest <= free.ram_bytes:
            return _verdict("fits", "the GPU", needed_bytes(usage), free, most, runtime)
    needed = needed_bytes(replace(estimate(facts, runtime), checkpoint_bytes=checkpoints))
    place: Place = "the GPU and RAM" if gpus else "RAM"
    if needed <= free.total_bytes:
        return _verdict("fits", place, needed, free, most, runtime)
    level: Level = "not now" if needed <= most.total_bytes else "too large"
    return _verdict(level, place, needed, free, most, runtime)


def _verdict(
    level: Level, place: Place, needed: int, free: Room, most: Room, runtime: Runtime
) -> Verdict:
    return Verdict(
        level,
        place,
        needed,
        free.total_bytes,
        most.total_bytes,
        runtime.context_tokens,
        most.bounded,
    )


def needed_bytes(usage: MemoryUsage) -> int:
    """All of it, the rows of logits and checkpoints included."""
    return usage.total_bytes + usage.output_bytes + usage.checkpoint_bytes


def runtime_for(facts: GgufFacts, settings: Settings, entry: ModelSpec | None) -> Runtime:
    """How `localserve up` would run the model, its context shortened to the trained one."""
    wanted = wanted_of(settings)
    if entry is not None:
        wanted = wanted.over(wanted_by(entry))
    trained = facts.hyperparameters.context_length
    if trained and wanted.context_tokens is not None:
        wanted = replace(wanted, context_tokens=min(wanted.context_tokens, trained))
    return runtime_of(facts, wanted)


def free_room(hardware: Hardware) -> Room:
    """The room that is free now."""
    memory, gpus = hardware.memory, [gpu for gpu in hardware.gpus if not gpu.unified]
    return Room(
        sum(max(0, gpu.free_bytes - GPU_MARGIN_BYTES) for gpu in gpus),
        hardware.within_bound(
            max(0, memory.available_bytes - ram_margin(memory.usable_bytes)),
        ),
    )


def most_room(hardware: Hardware) -> Room:
    """The room if no other program took any."""
    memory, gpus = hardware.memory, [gpu for gpu in hardware.gpus if not gpu.unified]
    return Room(
        sum(max(0, gpu.total_bytes - GPU_MARGIN_BYTES) for gpu in gpus),
        hardware.within_bound(
            max(0, memory.usable_bytes - ram_margin(memory.usable_bytes)),
        ),
        bounded=hardware.model_ram_bytes is not None,
    )
