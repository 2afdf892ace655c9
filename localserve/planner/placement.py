"""Where the parts of a model go: the first of all ways to place it, best first, that fits.

All on the GPUs; else the experts of the first layers in RAM, as few as possible; else fewer layers
on the GPUs; else all in RAM. Each step takes less of the GPUs and more of RAM, so the first that
the GPUs hold is found by bisection. The formula guesses, the given measure confirms. Pure.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from localserve.gguf.facts import GgufFacts
from localserve.planner.companions import Companion, with_companions
from localserve.planner.dry_run import Refused
from localserve.planner.formula import compute_bytes, estimate, layer_bytes
from localserve.planner.machine import Load, Machine
from localserve.planner.runtime import Runtime
from localserve.planner.usage import RAM, MemoryUsage

Measure = Callable[[Sequence[Runtime]], Sequence[MemoryUsage | Refused]]
"""What each of the runtimes would take, in their order."""

MOST_CONFIRMATIONS = 6
"""How often the measure is asked before a guess is given up."""


@dataclass(frozen=True, slots=True)
class Placement:
    """One way to run the model, what it takes, and whether that fits."""

    runtime: Runtime
    usage: MemoryUsage
    loads: tuple[Load, ...]

    @property
    def fits(self) -> bool:
        return all(load.headroom_bytes >= 0 for load in self.loads)

    @property
    def gpus_fit(self) -> bool:
        return all(load.headroom_bytes >= 0 for load in self.loads if load.place != RAM)


def ways(
    facts: GgufFacts,
    base: Runtime,
    machine: Machine,
    gpu_layers: int | None,
    cpu_expert_layers: int | None,
) -> list[Runtime]:
    """All placements that the constraints allow (None: free), best first; never none."""
    layers = facts.hyperparameters.layers
    if not machine.gpus or gpu_layers == 0:
        return [replace(base, gpu_layers=0, cpu_expert_layers=0)]
    mixed = any("_exps" in tensor.name for tensor in facts.tensors)
    experts: Sequence[int] = range(layers + 1) if mixed else (0,)
    if cpu_expert_layers is not None:
        experts = (min(cpu_expert_layers, layers),)
    most = None if gpu_layers is None or gpu_layers > layers else gpu_layers
    found = [replace(base, gpu_layers=most, cpu_expert_layers=count) for count in experts]
    if gpu_layers is None:
        found += [
            replace(base, gpu_layers=count, cpu_expert_layers=experts[-1] if count else 0)
            for count in range(layers, -1, -1)
        ]
    return found


def place(
    facts: GgufFacts,
    ways: Sequence[Runtime],
    machine: Machine,
    measure: Measure,
    companions: Sequence[Companion] = (),
    checkpoint_bytes: int = 0,
) -> Placement | Refused:
    """The first of the ways that fits, its companions and checkpoints beside it; where none does,
    the one that comes nearest."""

    def split(index: int) -> Runtime:
        return _split(facts, ways[index], machine, companions)

    def guess(index: int) -> Placement:
        runtime = split(index)
        usage = estimate(facts, runtime, machine.gpu_names)
        return placement(runtime, usage, machine, companions, checkpoint_bytes)

    last = len(ways) - 1
    first = min(bisect_left(range(len(ways)), True, key=lambda i: guess(i).gpus_fit), last)
    batch = [index for index in (first - 1, first, first + 1) if 0 <= index <= last]
    if first == 0:
        batch = [0]
    step = 1
    nearest: Placement | Refused = Refused("nothing was measured")
    for _ in range(MOST_CONFIRMATIONS):
        runtimes = [split(index) for index in batch]
        for runtime, answer in zip(runtimes, measure(runtimes), strict=True):
            if isinstance(answer, Refused):
                nearest = nearest if isinstance(nearest, Placement) else answer
                continue
            placed = placement(runtime, answer, machine, companions, checkpoint_bytes)
            if placed.fits:
                return placed
            if not isinstance(nearest, Placement) or not nearest.gpus_fit:
                nearest = placed
        if batch[-1] == last or (isinstance(nearest, Placement) and nearest.gpus_fit):
            return nearest  # all that follow take more of RAM
        batch = [min(batch[-1] + step, last)]
        step *= 2
    return nearest


def placement(
    runtime: Runtime,
    usage: MemoryUsage,
    machine: Machine,
    companions: Sequence[Companion],
    checkpoint_bytes: int,
) -> Placement:
    """The model so run, its companions beside it, and room for checkpoints."""
    together = with_companions(usage, companions, runtime, machine.gpu_names)
    together = replace(together, checkpoint_bytes=checkpoint_bytes)
    return Placement(runtime, together, machine.loads(together))


def _split(
    facts: GgufFacts, runtime: Runtime, machine: Machine, companions: Sequence[Companion]
) -> Runtime:
    """The runtime with a share for each GPU: by their room, else whatever fits, first to last."""
    count = facts.hyperparameters.layers + 1
    on_gpus = count if runtime.gpu_layers is None else min(runtime.gpu_layers, count)
    if len(machine.gpus) < 2 or not on_gpus:
        return runtime
    sizes = layer_bytes(facts, runtime)[count - on_gpus :]
    overhead = compute_bytes(facts, runtime)
    beside = with_companions(MemoryUsage((), 0), companions, runtime, machine.gpu_names)
    rooms = [max(0, gpu.room_bytes - overhead - beside.beside_on(gpu.name)) for gpu in machine.gpus]
    for counts in (_in_proportion(on_gpus, rooms), _filled(sizes, rooms)):
        ends = [sum(counts[:index]) for index in range(len(counts) + 1)]
        taken = [sum(sizes[begin:end]) for begin, end in pairwise(ends)]
        if all(size <= room for size, room in zip(taken, rooms, strict=True)):
            break
    return replace(runtime, tensor_split=tuple(map(float, counts)))


def _in_proportion(count: int, rooms: Sequence[int]) -> list[int]:
    """`count` layers dealt out by room."""
    total = sum(rooms) or 1
    ends = [round(count * sum(rooms[:index]) / total) for index in range(len(rooms) + 1)]
    ends[-1] = count
    return [end - begin for begin, end in pairwise(ends)]


def _filled(sizes: Sequence[int], rooms: Sequence[int]) -> list[int]:
    """Layers dealt out one GPU after the other, as many as each holds; the rest to the last."""
    counts, taken = [0] * len(rooms), 0
    gpu = 0
    for size in sizes:
        while gpu < len(rooms) - 1 and taken + size > rooms[gpu]:
            gpu, taken = gpu + 1, 0
        counts[gpu] += 1
        taken += size
    return counts
