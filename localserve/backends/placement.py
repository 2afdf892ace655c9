"""How a model that is about to be loaded is run: as `fit` plans it, on what is free now.

Where there is no GPU and the file plainly fits into RAM nothing is asked that takes time. Blocks:
call it on the engine thread, which imports llama.cpp anyhow.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from localserve.config import DEFAULT_PARALLEL, Settings
from localserve.errors import LocalserveError, MemoryBusy, ModelTooLarge, ModelUnusable
from localserve.gguf.facts import GgufFacts
from localserve.planner.bandwidth import NOTHING_MEASURED, known_bandwidth
from localserve.planner.companions import with_companions
from localserve.planner.explain import explain
from localserve.planner.forecast import Forecast
from localserve.planner.formula import estimate
from localserve.planner.gauge import DryRuns
from localserve.planner.hardware import Hardware, probe
from localserve.planner.learned import lessons
from localserve.planner.machine import PROCESS_BYTES, Machine, emptied, machine_of, ram_margin
from localserve.planner.memory import read_memory
from localserve.planner.plan import (
    Plan,
    Wanted,
    checkpoint_room,
    computes,
    make_plan,
    roomier_contexts,
    runtime_of,
    stretched,
)
from localserve.planner.programs import big_programs
from localserve.planner.readings import Readings
from localserve.planner.runtime import Runtime
from localserve.planner.sizes import memory_text
from localserve.planner.usage import RAM, MemoryUsage
from localserve.planner.verdict import needed_bytes

log = logging.getLogger(__name__)

PLAINLY = 1.1
"""What fits with a tenth to spare is not counted again by llama.cpp."""


BUSY_RETRY_SECONDS = 30
"""Other programs end when they do."""


@dataclass(frozen=True, slots=True)
class Placed:
    """How to run the model, what that should take, on what it computes ('CPU', 'CUDA' ...), how
    many answers at a time, and the file of the model that guesses for it, if one does."""

    runtime: Runtime
    predicted: MemoryUsage
    backend: str
    parallel: int = DEFAULT_PARALLEL
    draft: Path | None = None


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

    Raises: ModelTooLarge, where it would not fit if all memory were free; MemoryBusy, where other
    programs hold what it needs; ModelUnusable, where llama.cpp would not run it or it was not
    trained for the context. The hint is the cheapest change that would fit.
    """
    facts = replace(facts, name=name)
    runtime = runtime_of(facts, wanted)
    parallel = wanted.parallel or DEFAULT_PARALLEL
    if settings is None:
        runtime = replace(
            runtime,
            gpu_layers=wanted.gpu_layers,
            cpu_expert_layers=wanted.cpu_expert_layers or 0,
        )
        return Placed(runtime, _in_ram(facts, runtime, wanted), RAM, parallel)
    if not has_gpu():
        runtime = replace(runtime, gpu_layers=0)
        for tokens in (*roomier_contexts(facts, runtime, wanted), runtime.context_tokens):
            runtime = replace(runtime, context_tokens=tokens)
            predicted = _in_ram(facts, runtime, wanted)
            if _plainly_fits(predicted, settings.model_ram_bytes):
                return Placed(runtime, predicted, RAM, parallel)
    return _planned(path, facts, wanted, settings, find_hardware(settings))


def _in_ram(facts: GgufFacts, runtime: Runtime, wanted: Wanted) -> MemoryUsage:
    usage = with_companions(estimate(facts, runtime), wanted.companions, runtime, ())
    return replace(usage, checkpoint_bytes=checkpoint_room(facts, runtime, wanted))


def _plainly_fits(usage: MemoryUsage, bound_bytes: int | None) -> bool:
    memory = read_memory(Readings())
    taken = needed_bytes(usage) + usage.beside_on(RAM)
    if bound_bytes is not None and int(taken * PLAINLY) > bound_bytes:
        return False
    needed = int((taken + PROCESS_BYTES) * PLAINLY)
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
        correct = partial(known.correct, machine.key)
        plan = make_plan(facts, wanted, machine, dry.measure, correct=correct)
        plan = stretched(plan, machine, dry.measure, correct=correct)
        if not plan.fits and not _fits_without_margin(plan, machine):
            raise _refusal(plan, machine, dry)
    return Placed(plan.runtime, plan.usage, computes(plan.where, machine), plan.parallel)


def _fits_without_margin(plan: Plan, machine: Machine) -> bool:
    """Whether it needs no more than the margin that is left to others; then it is tried."""
    if plan.problem is not None or any(
        one.needed_bytes > machine.place(one.place).most_bytes for one in plan.loads
    ):
        return False
    log.warning("%s: that is tight, and other programs may run short", _numbers(plan, machine))
    return True


def _refusal(plan: Plan, machine: Machine, dry: DryRuns) -> LocalserveError:
    """Why it is not loaded: for good, or as long as other programs hold the memory."""
    if plan.problem is not None:
        name = plan.facts.name or plan.facts.file
        message = f"llama.cpp would not run {name!r} so: {plan.problem}"
        return ModelUnusable(message, hint=_cheapest_change(plan, machine, dry))
    empty = emptied(machine)
    alone = make_plan(plan.facts, plan.wanted, empty, dry.measure)
    if not alone.fits:
        place = machine.place(alone.tightest.place)
        room = memory_text(alone.tightest.room_bytes)
        most = f"of its {memory_text(place.total_bytes)} models may take {room} at most"
        if empty.place(alone.tightest.place).is_bounded:
            most = f"LOCALSERVE_MODEL_RAM_BYTES leaves {room} for models and their process"
        hint = _cheapest_change(alone, empty, dry)
        return ModelTooLarge(f"{_numbers(plan, machine)}; {most}.", hint=hint)
    programs = machine.place(plan.tightest.place).programs
    held = ", ".join(
        program.name + (f" ({memory_text(program.used_bytes)})" if program.used_bytes else "")
        for program in programs
    )
    return MemoryBusy(
        f"{_numbers(plan, machine)}: {held or 'other programs'} hold the rest.",
        retry_after_seconds=BUSY_RETRY_SECONDS,
        hint=f"Try again when they have ended. {_cheapest_change(plan, machine, dry)}",
    )


def _cheapest_change(plan: Plan, machine: Machine, dry: DryRuns) -> str:
    changes = explain(plan, machine, dry.measure).changes
    return f"{changes[0].text} would fit." if changes else "Choose a smaller model."


def _numbers(plan: Plan, machine: Machine) -> str:
    load = plan.tightest
    place, name = machine.place(load.place), plan.facts.name or plan.facts.file
    return (
        f"{name!r} needs {memory_text(load.needed_bytes)} of"
        f" {place.title}, {memory_text(place.free_bytes)} are free"
    )


def forecast(settings: Settings, facts: GgufFacts, runtime: Runtime) -> Forecast | None:
    """The times to expect, from bandwidth that was measured before; None if none was."""
    hardware = probe(settings)
    bandwidth = known_bandwidth(hardware, settings)
    if bandwidth is None:
        return None
    return Forecast(facts, runtime, machine_of(hardware, bandwidth))
