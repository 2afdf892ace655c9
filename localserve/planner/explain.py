"""Why a plan fits or does not: the terms, what binds, and the cheapest changes that would help.

Each change that is told has been computed: it fits. Pure but for the measure that is handed in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from localserve.planner.choice import choose
from localserve.planner.gauge import by_formula, extrapolated
from localserve.planner.machine import PROCESS_BYTES, Machine, Place, Program
from localserve.planner.placement import Measure
from localserve.planner.plan import Plan, Wanted, make_plan
from localserve.planner.usage import RAM

CONTEXT_STEP = 256
LEAST_CONTEXT_TOKENS = 1024
"""A smaller context is of no use to anybody."""

ChangeKind = Literal["placement", "parallel", "cache", "context", "program", "quantization"]


@dataclass(frozen=True, slots=True)
class Term:
    """One part of what a place holds. `kind` names it for programs."""

    kind: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Change:
    """Something that would make it fit. `text` says it, `plan` is what would be run then (None
    where the machine and not the plan would change)."""

    kind: ChangeKind
    text: str
    plan: Plan | None = None


@dataclass(frozen=True, slots=True)
class Explanation:
    """`place` is the one that binds, `terms` all that lies there if it is done, with the margin;
    `short_bytes` what is missing (0 if it fits); `changes` would help, the cheapest first."""

    place: Place
    terms: tuple[Term, ...]
    short_bytes: int
    changes: tuple[Change, ...]


Replan = Callable[[Wanted], Plan]


def explain(
    plan: Plan,
    machine: Machine,
    measure: Measure,
    others: Sequence[Plan] = (),
) -> Explanation:
    """Why the plan is as it is. `others` are plans of other quantizations of the same model."""
    place = machine.place(plan.tightest.place)
    changes: tuple[Change, ...] = ()
    if not plan.fits:
        guesses = _changes(plan, place, _replanner(plan, machine, _near(plan, machine)), others)
        changes = tuple(_confirmed(list(guesses), plan, machine, measure))
    return Explanation(place, tuple(_terms(plan, place)), max(0, -plan.headroom_bytes), changes)


def _near(plan: Plan, machine: Machine) -> Measure:
    """A guess at what is like the plan: the formula, corrected by what the plan takes."""
    if plan.problem is not None:
        return by_formula(plan.facts, machine.gpu_names)
    return extrapolated(plan.facts, plan.runtime, plan.usage, machine.gpu_names)


def _replanner(plan: Plan, machine: Machine, measure: Measure) -> Replan:
    def replan(wanted: Wanted) -> Plan:
        return make_plan(plan.facts, wanted, machine, measure, quantization=plan.quantization)

    return replan


def _confirmed(
    guesses: Sequence[Change], plan: Plan, machine: Machine, measure: Measure
) -> Iterator[Change]:
    """The changes that the real measure confirms; a context that is just too long is cut again."""
    own = [one.plan for one in guesses if one.plan is not None and one.kind != "quantization"]
    measure([one.runtime for one in own])  # all at once is quicker; the answers are kept
    replan = _replanner(plan, machine, measure)
    for change in guesses:
        if change.plan is None or change.kind == "quantization":
            yield change
            continue
        confirmed = replan(change.plan.wanted)
        if not confirmed.fits and change.kind == "context":
            tokens = confirmed.runtime.context_tokens * 15 // 16 // CONTEXT_STEP * CONTEXT_STEP
            confirmed = replan(replace(change.plan.wanted, context_tokens=tokens))
            change = replace(change, text=f"--ctx {tokens}")
        if confirmed.fits:
            yield replace(change, plan=confirmed)


def _terms(plan: Plan, place: Place) -> Iterator[Term]:
    device = plan.usage.of(place.name)
    load = next(load for load in plan.loads if load.place == place.name)
    rest = load.needed_bytes - load.shared_bytes - device.total_bytes
    rest -= plan.usage.beside_on(place.name)
    yield Term("weights", device.weights_bytes)
    yield Term("cache", device.cache_bytes)
    yield Term("compute", device.compute_bytes)
    for beside in plan.usage.beside:
        if size := beside.on(place.name):
            yield Term(beside.kind, size)
    if place.name == RAM:
        yield Term("output", plan.usage.output_bytes)
        yield Term("process", PROCESS_BYTES)
        rest -= plan.usage.output_bytes + PROCESS_BYTES
        if size := plan.usage.checkpoint_bytes:
            yield Term("checkpoints", size)
            rest -= size
    if load.shared_bytes:
        yield Term("gpu", load.shared_bytes)
    if rest:  # earlier loads took more than predicted
        yield Term("other", rest)
    yield Term("margin", place.margin_bytes)
    yield Term("other_programs", max(0, place.total_bytes - place.free_bytes))


def _changes(plan: Plan, place: Place, replan: Replan, others: Sequence[Plan]) -> Iterator[Change]:
    wanted = plan.wanted
    if wanted.gpu_layers is not None or wanted.cpu_expert_layers is not None:
        freed = replan(replace(wanted, gpu_layers=None, cpu_expert_layers=None))
        if freed.fits:
            layers = freed.runtime.gpu_layers
            on_gpu = "all layers" if layers is None else f"{layers} layers"
            text = f"without --gpu-layers and --cpu-moe-layers ({on_gpu} on the GPU)"
            yield Change("placement", text, freed)
    if plan.parallel > 1:
        single = replan(replace(wanted, parallel=1))
        if single.fits:
            yield _fewer_parallel(plan, replan)
    if (plan.runtime.cache_type_k, plan.runtime.cache_type_v) != ("q8_0", "q8_0"):
        coarse = replan(replace(wanted, cache_type_k="q8_0", cache_type_v="q8_0"))
        if coarse.fits and coarse.usage.cache_bytes < plan.usage.cache_bytes:
            yield Change("cache", "--cache-type-k q8_0 --cache-type-v q8_0", coarse)
    if (shorter := _shorter(plan, replan)) is not None:
        yield Change("context", f"--ctx {shorter.runtime.context_tokens}", shorter)
    for program in sorted(place.programs, key=lambda one: one.used_bytes or 0):
        if plan.problem is None and _gained(place, program) >= -plan.headroom_bytes:
            yield Change("program", f"closing {program.name}, which has memory of {place.title},")
            break
    if (smaller := choose([one for one in others if one is not plan])) is not None:
        yield Change("quantization", f"the quantization {smaller.quantization}", smaller)


def _gained(place: Place, program: Program) -> int:
    """By how much the place's room would grow without the program, in bytes."""
    without = replace(place, free_bytes=place.free_bytes + (program.used_bytes or 0))
    return without.room_bytes - place.room_bytes


def _fewer_parallel(plan: Plan, replan: Replan) -> Change:
    """The most parallel answers that fit; one does."""
    fits, too_many = 1, plan.parallel
    best = replan(replace(plan.wanted, parallel=1))
    while too_many - fits > 1:
        middle = (fits + too_many) // 2
        tried = replan(replace(plan.wanted, parallel=middle))
        if tried.fits:
            fits, best = middle, tried
        else:
            too_many = middle
    return Change("parallel", f"--parallel {fits}", best)


def _shorter(plan: Plan, replan: Replan) -> Plan | None:
    """The plan with the largest context that fits, in steps of CONTEXT_STEP."""
    too_long = -(-plan.runtime.context_tokens // CONTEXT_STEP)
    fits = LEAST_CONTEXT_TOKENS // CONTEXT_STEP
    if fits >= too_long:
        return None
    best = replan(replace(plan.wanted, context_tokens=fits * CONTEXT_STEP))
    if not best.fits:
        return None
    while too_long - fits > 1:
        middle = (fits + too_long) // 2
        tried = replan(replace(plan.wanted, context_tokens=middle * CONTEXT_STEP))
        if tried.fits:
            fits, best = middle, tried
        else:
            too_long = middle
    return best
