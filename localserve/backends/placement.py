"""How a model that is about to be loaded is run: as `fit` plans it, on what is free now.

Where there is no GPU and the file plainly fits into RAM nothing is asked that takes time. Blocks:
call it on the engine thread, which imports llama.cpp anyhow.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from localserve.config import Settings
from localserve.engine.checkpoints import MOST_CHECKPOINTS
from localserve.errors import ModelUnusable
from localserve.gguf.facts import GgufFacts
from localserve.planner.bandwidth import NOTHING_MEASURED, known_bandwidth
from localserve.planner.companions import with_companions
from localserve.planner.explain import explain
from localserve.planner.formula import estimate, state_bytes
from localserve.planner.gauge import DryRuns
from localserve.planner.hardware import Hardware, probe
from localserve.planner.learned import lessons
from localserve.planner.machine import PROCESS_BYTES, Machine, machine_of, ram_margin
from localserve.planner.memory import read_memory
from localserve.planner.plan import Plan, Wanted, computes, make_plan, runtime_of
from localserve.planner.programs import big_programs
from localserve.planner.readings import Readings
from localserve.planner.runtime import Runtime
from localserve.planner.speed import Speed, predict
from localserve.planner.usage import RAM, MemoryUsage

log = logging.getLogger(__name__)

PLAINLY = 1.1
"""What fits with a tenth to spare is not counted again by llama.cpp."""

GIB = 1 << 30


@dataclass(frozen=True, slots=True)
class Placed:
    """How to run the model, what that should take, and on what it computes ('CPU', 'CUDA' ...)."""

    runtime: Runtime
    predicted: MemoryUsage
    backend: str


def place_model(
    path: Path,
    facts: GgufFacts,
    name: str,
    wanted: Wanted,
    settings: Settings | None,
    has_gpu: Callable[[], bool],
    find_hardware: Callable[[Settings], Hardware] = probe,
) -> Placed:
    """The runtime to load a file with; `name` is the model's. Without settings nothing is planned.

    Raises: ModelUnusable, where it does not fit or was not trained for the context; the hint is
    the cheapest change that would fit.
    """
    facts = replace(facts, name=name)
    runtime = runtime_of(facts, wanted)
    if settings is None:
        runtime = replace(
            runtime,
            gpu_layers=wanted.gpu_layers,
            cpu_expert_layers=wanted.cpu_expert_layers or 0,
        )
        alone = with_companions(estimate(facts, runtime), wanted.companions, runtime, ())
        return Placed(runtime, alone, RAM)
    if not has_gpu():
        runtime = replace(runtime, gpu_layers=0)
        predicted = with_companions(estimate(facts, runtime), wanted.companions, runtime, ())
        if _plainly_fits(predicted):
            return Placed(runtime, predicted, RAM)
    return _planned(path, facts, wanted, settings, find_hardware(settings))


def checkpoint_room(facts: GgufFacts, runtime: Runtime, limit_bytes: int) -> int:
    """Bytes of RAM that checkpoints may take: none where sequences can be cut anywhere."""
    return min(limit_bytes, MOST_CHECKPOINTS * state_bytes(facts, runtime))


def _plainly_fits(usage: MemoryUsage) -> bool:
    memory = read_memory(Readings())
    needed = usage.total_bytes + usage.output_bytes + usage.beside_on(RAM) + PROCESS_BYTES
    needed = int(needed * PLAINLY)
    return needed + ram_margin(memory.usable_bytes) <= memory.available_bytes


def _planned(
    path: Path, facts: GgufFacts, wanted: Wanted, settings: Settings, hardware: Hardware
) -> Placed:
    known = lessons(settings)
    machine = machine_of(
        hardware, known_bandwidth(hardware, settings) or NOTHING_MEASURED, big_programs()
    )
    surcharge = known.surcharge(facts.architecture, machine.backend)
    machine = replace(machine, surcharge=surcharge)
    with DryRuns((), path) as dry:
        plan = make_plan(facts, wanted, machine, dry.measure, correct=known.correct)
        if not plan.fits:
            _refuse_or_warn(plan, machine, dry)
    return Placed(plan.runtime, plan.usage, computes(plan.where, machine))


def _refuse_or_warn(plan: Plan, machine: Machine, dry: DryRuns) -> None:
    """What needs the margin only is tried. Raises: ModelUnusable."""
    load = plan.tightest
    place = machine.place(load.place)
    name = plan.facts.name or plan.facts.file
    numbers = (
        f"{name!r} needs {load.needed_bytes / GIB:.1f} GiB of {place.title},"
        f" {place.free_bytes / GIB:.1f} GiB are free"
    )
    if plan.problem is None and all(
        one.needed_bytes <= machine.place(one.place).free_bytes for one in plan.loads
    ):
        log.warning("%s: that is tight, and other programs may run short", numbers)
        return
    changes = explain(plan, machine, dry.measure).changes
    hint = f"{changes[0].text} would fit." if changes else "Choose a smaller model."
    if plan.problem is not None:
        raise ModelUnusable(f"llama.cpp would not run {name!r} so: {plan.problem}", hint=hint)
    raise ModelUnusable(f"{numbers}.", hint=hint)


def predicted_speed(settings: Settings, facts: GgufFacts, runtime: Runtime) -> Speed | None:
    """The speed to expect, from bandwidth that was measured before; None if none was."""
    hardware = probe(settings)
    bandwidth = known_bandwidth(hardware, settings)
    if bandwidth is None:
        return None
    return predict(facts, runtime, machine_of(hardware, bandwidth))
