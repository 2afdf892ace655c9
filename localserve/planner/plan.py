"""How a model would be run on a machine: the plan, for `fit` to show and for `up` to follow.

The user's settings are constraints; what they leave free is planned, except that the context is
never lowered and the cache never coarsened unasked: what that would bring is told instead. A
context that is left open is planned with the least that is of use, and stretched where more of it
is cheap. Pure but for the measure that is handed in.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from typing import Literal, cast

from localserve.catalog.spec import ModelSpec
from localserve.config import (
    DEFAULT_CHECKPOINT_BYTES,
    DEFAULT_CONTEXT_TOKENS,
    DEFAULT_PARALLEL,
    MOST_CHECKPOINTS,
    ROOMY_CONTEXT_TOKENS,
    Settings,
)
from localserve.errors import ModelUnusable
from localserve.gguf.facts import GgufFacts
from localserve.gguf.pooling import Pooling, divisible, natural_pooling, pooling_of
from localserve.planner.companions import Companion
from localserve.planner.dry_run import Refused
from localserve.planner.formula import (
    CELL_PADDING,
    cache_bytes,
    estimate,
    output_bytes,
    state_bytes,
)
from localserve.planner.machine import Load, Machine
from localserve.planner.placement import Measure, place, placement, ways
from localserve.planner.runtime import (
    BATCH_TOKENS,
    GUESS_TOKENS,
    POOLED_OUTPUT_BYTES,
    POOLED_SEQUENCES,
    CacheType,
    Runtime,
    sequences_for,
)
from localserve.planner.speed import AS_PREDICTED, Corrections, Speed, predict
from localserve.planner.usage import RAM, MemoryUsage

Where = Literal["GPU", "GPU + RAM", "RAM"]

CHEAP_CACHE_BYTES = 1 << 30
"""A cache of so many bytes, or of half the weights, is not worth a smaller context."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the user decided; None leaves it to the plan or its default.

    `context_tokens` is the pool and the most that one request may use. `gpu_layers` counts from the
    last layer, the output being one of them; `cpu_expert_layers` from the first. `companions` are
    to have room beside the model, checkpoints at most `checkpoint_bytes`.
    `pooling` makes vectors by any model; `embeds` does so as its file says, or as suits the model.
    """

    context_tokens: int | None = None
    parallel: int | None = None
    cache_type_k: CacheType | None = None
    cache_type_v: CacheType | None = None
    gpu_layers: int | None = None
    cpu_expert_layers: int | None = None
    quantization: str | None = None
    pooling: Pooling | None = None
    embeds: bool | None = None
    guess_tokens: int | None = None
    checkpoint_bytes: int | None = None
    companions: tuple[Companion, ...] = ()

    def over(self, other: Wanted) -> Wanted:
        """These wishes, and where they leave something open the other ones."""
        mine = {
            field.name: value
            for field in fields(self)
            if (value := getattr(self, field.name)) not in (None, ())
        }
        return replace(other, **mine)

    def pooling_with(self, facts: GgufFacts) -> Pooling | None:
        """How a model's vectors are made; None, where it is to write text."""
        if self.pooling is not None:
            return self.pooling
        return natural_pooling(facts) if self.embeds else pooling_of(facts)


def wanted_by(spec: ModelSpec) -> Wanted:
    """What the model's entry constrains."""
    return Wanted(
        context_tokens=spec.context_tokens,
        parallel=spec.parallel,
        cache_type_k=cast("CacheType | None", spec.cache_type_k),
        cache_type_v=cast("CacheType | None", spec.cache_type_v),
        gpu_layers=spec.gpu_layers,
        cpu_expert_layers=spec.cpu_moe_layers,
        pooling=spec.pooling,
        embeds=True if spec.kind == "embedding" else None,
    )


def wanted_of(settings: Settings, *, default: bool = True) -> Wanted:
    """What the settings constrain. Their context is the `default` model's: others have their own,
    or what models.toml says."""
    return Wanted(
        context_tokens=settings.context_tokens if default else None,
        parallel=settings.parallel,
        cache_type_k=cast("CacheType | None", settings.cache_type_k),
        cache_type_v=cast("CacheType | None", settings.cache_type_v),
        gpu_layers=settings.gpu_layers,
        cpu_expert_layers=settings.cpu_moe_layers,
        guess_tokens=settings.guess_tokens,
        checkpoint_bytes=settings.checkpoint_bytes,
    )


@dataclass(frozen=True, slots=True)
class Plan:
    """One model file, run in one way. Where nothing fits, what comes nearest.

    `loads` has each place's needs against its room; `problem` is llama.cpp's reason where it would
    not run the model so at all, and then `usage` is an estimate. `speed` is None where no rate is
    known; `corrections` are in it already.
    """

    facts: GgufFacts = field(repr=False)
    quantization: str
    wanted: Wanted
    parallel: int
    runtime: Runtime
    usage: MemoryUsage
    loads: tuple[Load, ...]
    where: Where
    speed: Speed | None
    corrections: Corrections = AS_PREDICTED
    problem: str | None = None

    @property
    def fits(self) -> bool:
        return self.problem is None and self.headroom_bytes >= 0

    @property
    def headroom_bytes(self) -> int:
        """What is left in the place that is nearest to full; below zero it does not fit."""
        return self.tightest.headroom_bytes

    @property
    def tightest(self) -> Load:
        """The place that binds."""
        used = [load for load in self.loads if load.needed_bytes]
        return min(used, key=lambda load: load.headroom_bytes)


Correct = Callable[[GgufFacts, str], Corrections]
"""What earlier answers teach of a model on a backend."""


def uncorrected(facts: GgufFacts, backend: str) -> Corrections:
    """Where nothing was learned."""
    return AS_PREDICTED


def make_plan(
    facts: GgufFacts,
    wanted: Wanted,
    machine: Machine,
    measure: Measure,
    *,
    quantization: str | None = None,
    correct: Correct = uncorrected,
) -> Plan:
    """The best way to run the model that the constraints allow, fitting or not.

    `quantization` is its name if not as the file says. Raises: ModelUnusable, where the model was
    not trained for the context.
    """
    base = runtime_of(facts, wanted)
    allowed = ways(facts, base, machine, wanted.gpu_layers, wanted.cpu_expert_layers)
    checkpoints = checkpoint_room(facts, base, wanted)
    placed = place(facts, allowed, machine, measure, wanted.companions, checkpoints)
    problem = None
    if isinstance(placed, Refused):
        problem = placed.reason
        usage = estimate(facts, allowed[-1], machine.gpu_names)
        placed = placement(allowed[-1], usage, machine, wanted.companions, checkpoints)
    name = quantization or facts.quantization
    where = _where(facts, placed.runtime, machine)
    corrections = correct(facts, computes(where, machine))
    return Plan(
        facts=facts,
        quantization=name,
        wanted=wanted,
        parallel=parallel_of(base, wanted),
        runtime=placed.runtime,
        usage=placed.usage,
        loads=placed.loads,
        where=where,
        speed=predict(facts, placed.runtime, machine, corrections),
        corrections=corrections,
        problem=problem,
    )


def stretched(
    plan: Plan, machine: Machine, measure: Measure, *, correct: Correct = uncorrected
) -> Plan:
    """The plan with the longest cheap context that fits and moves nothing; else the plan itself."""
    for tokens in roomier_contexts(plan.facts, plan.runtime, plan.wanted) if plan.fits else ():
        longer = make_plan(
            plan.facts,
            replace(plan.wanted, context_tokens=tokens),
            machine,
            measure,
            quantization=plan.quantization,
            correct=correct,
        )
        if longer.fits and _placed_alike(longer.runtime, plan.runtime):
            return replace(longer, wanted=plan.wanted)
    return plan


def roomier_contexts(facts: GgufFacts, runtime: Runtime, wanted: Wanted) -> tuple[int, ...]:
    """Contexts longer than the runtime's that cost little memory, the longest first; none where the
    user has decided, or where vectors are made."""
    if wanted.context_tokens is not None or runtime.pooling is not None:
        return ()
    trained = facts.hyperparameters.context_length or DEFAULT_CONTEXT_TOKENS
    cheap = max(CHEAP_CACHE_BYTES, facts.weights_bytes // 2)
    counts = {min(ROOMY_CONTEXT_TOKENS, trained), min(ROOMY_CONTEXT_TOKENS // 2, trained)}
    return tuple(
        count
        for count in sorted(counts, reverse=True)
        if count > runtime.context_tokens
        and _cache_bytes(facts, replace(runtime, context_tokens=count)) <= cheap
    )


def _cache_bytes(facts: GgufFacts, runtime: Runtime) -> int:
    return sum(cache_bytes(facts, runtime, layer) for layer in range(facts.hyperparameters.layers))


def _placed_alike(one: Runtime, other: Runtime) -> bool:
    return (one.gpu_layers, one.cpu_expert_layers) == (other.gpu_layers, other.cpu_expert_layers)


def computes(where: Where, machine: Machine) -> str:
    """The backend that answers are made on, for lessons: 'CPU', 'CUDA', 'CUDA + RAM'."""
    if where == "RAM":
        return RAM
    return machine.backend + where.removeprefix("GPU")


def runtime_of(facts: GgufFacts, wanted: Wanted) -> Runtime:
    """What is decided before anything is placed. Raises: ModelUnusable."""
    sizes = facts.hyperparameters
    recurrent = sizes.recurrence is not None
    pooling = wanted.pooling_with(facts)
    context_tokens = context_of(facts, wanted.context_tokens, pooling)
    guesses = GUESS_TOKENS if wanted.guess_tokens is None else wanted.guess_tokens
    runtime = Runtime(
        context_tokens=context_tokens,
        sequences=sequences_for(wanted.parallel or DEFAULT_PARALLEL, recurrent),
        guess_tokens=guesses if sizes.can_be_cut else 0,
    )
    if pooling is not None:
        whole = not divisible(facts, pooling)
        runtime = replace(
            runtime,
            pooling=pooling,
            batch_tokens=max(BATCH_TOKENS, context_tokens) if whole else BATCH_TOKENS,
            sequences=DEFAULT_PARALLEL if recurrent else POOLED_SEQUENCES,
            guess_tokens=0,
        )
    if wanted.cache_type_k is not None:
        runtime = replace(runtime, cache_type_k=wanted.cache_type_k)
    if wanted.cache_type_v is not None:
        runtime = replace(runtime, cache_type_v=wanted.cache_type_v)
    return runtime


def checkpoint_room(facts: GgufFacts, runtime: Runtime, wanted: Wanted) -> int:
    """The most bytes of RAM that checkpoints come to take: none where sequences can be cut
    anywhere, or where vectors are made."""
    if runtime.pooling is not None:
        return 0
    limit = wanted.checkpoint_bytes
    if limit is None:
        limit = DEFAULT_CHECKPOINT_BYTES
    return min(limit, MOST_CHECKPOINTS * state_bytes(facts, runtime))


def parallel_of(runtime: Runtime, wanted: Wanted) -> int:
    """Requests computed together; where vectors are made, texts."""
    return wanted.parallel or DEFAULT_PARALLEL if runtime.pooling is None else runtime.sequences


def context_of(facts: GgufFacts, asked: int | None, pooling: Pooling | None = None) -> int:
    """The pool of cells: what was asked for, else at most DEFAULT_CONTEXT_TOKENS.

    Where vectors are made it is the longest text; where each is computed at once, unasked it also
    stays within POOLED_OUTPUT_BYTES. Raises: ModelUnusable, where the model was not trained for so
    much.
    """
    trained = facts.hyperparameters.context_length or DEFAULT_CONTEXT_TOKENS
    if asked is None:
        most = DEFAULT_CONTEXT_TOKENS
        if pooling is not None and not divisible(facts, pooling):
            tokens = POOLED_OUTPUT_BYTES // output_bytes(facts, 1, pooled=True)
            most = min(most, max(BATCH_TOKENS, tokens // CELL_PADDING * CELL_PADDING))
        return min(trained, most)
    if asked > trained:
        raise ModelUnusable(
            f"{facts.name or facts.file!r} was trained for a context of {trained} tokens, {asked}"
            " were asked for.",
            hint=f"--ctx {trained} is the most.",
        )
    return asked


def _where(facts: GgufFacts, runtime: Runtime, machine: Machine) -> Where:
    count = facts.hyperparameters.layers + 1
    if not machine.gpus or runtime.gpu_layers == 0:
        return "RAM"
    whole = runtime.gpu_layers is None or runtime.gpu_layers >= count
    return "GPU" if whole and not runtime.cpu_expert_layers else "GPU + RAM"
