"""Does it fit: plans for every file that a model could be run from, the choice and its reasons.

Blocks: llama.cpp is asked in child processes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial

from localserve.catalog.candidates import Candidates, Projector
from localserve.catalog.headers import Headers
from localserve.catalog.registry import Registry
from localserve.errors import ModelUnusable
from localserve.gguf.facts import GgufFacts
from localserve.gguf.loadable import check_loadable
from localserve.planner.choice import (
    USABLE_TOKENS_PER_SECOND,
    bits_per_weight,
    choose,
    decode_rate,
    frontier,
)
from localserve.planner.explain import Explanation, explain
from localserve.planner.gauge import DryRuns, Sibling, by_formula
from localserve.planner.learned import NOTHING_LEARNED, Lessons
from localserve.planner.machine import Machine
from localserve.planner.placement import Measure
from localserve.planner.plan import (
    Plan,
    Wanted,
    make_plan,
    roomier_contexts,
    runtime_of,
    stretched,
    uncorrected,
    wanted_by,
)
from localserve.planner.runtime import Runtime
from localserve.planner.shapes import facts_of, resized

FRONTIER_CONTEXTS = (4096, 8192, 16384, 32768, 65536, 131072, 262144)
"""Contexts that a model is planned with to show what longer ones cost."""


@dataclass(frozen=True, slots=True)
class Fit:
    """The answer for one model.

    `plans` are of all its quantizations, the best first, each with the context it would be run
    with; `unusable` says why others are none.
    `shown` is the plan to look at: the picked one, or of those that do not fit the nearest.
    `others` has plans with other contexts and `frontier` those of all that nothing else beats;
    both are empty where there is no trade. `projector` comes with the model, counted or not.
    `elsewhere` names quantizations that are not on this disk as others are: the catalog has their
    bytes, all else is as in the file that is here.
    """

    name: str
    plans: tuple[Plan, ...]
    unusable: Mapping[str, ModelUnusable]
    picked: Plan | None
    shown: Plan
    explanation: Explanation
    others: tuple[Plan, ...]
    frontier: tuple[Plan, ...]
    projector: Projector | None = None
    elsewhere: frozenset[str] = frozenset()

    @property
    def better(self) -> Plan | None:
        """The plan of a quantization from elsewhere, where that is the one to choose of all."""
        best = choose(self.plans)
        return best if best is not None and best.quantization in self.elsewhere else None


def fit_model(
    candidates: Candidates,
    wanted: Wanted,
    machine: Machine,
    known: Lessons = NOTHING_LEARNED,
) -> Fit:
    """Plan every quantization and choose. Raises: ModelUnusable, where none can be loaded at all
    or the model was not trained for the context."""
    wanted = wanted.over(wanted_by(candidates.spec))
    usable, unusable = _sorted_out(candidates)
    architecture = next(iter(usable.values())).facts.architecture
    correct = uncorrected if machine.imagined else partial(known.correct, machine.key)
    if not machine.imagined:
        surcharge = known.surcharge(architecture, machine.backend)
        machine = replace(machine, surcharge=surcharge)
    with ExitStack() as stack:
        facts = _all_facts(candidates, usable)
        real = {name: facts[name] for name in facts if name in usable}
        likely = _likely(real, candidates.quantization, wanted, machine)
        bench = _Bench(candidates, usable, facts, machine, stack, likely)
        first = facts[likely]
        contexts = other_contexts(first, wanted)
        runtime = runtime_of(first, wanted)
        roomier = [
            replace(runtime, context_tokens=count)
            for count in roomier_contexts(first, runtime, wanted)
        ]
        bench.learn([runtime, *roomier, *(runtime_of(first, one) for one in contexts)])

        def plan(name: str, wish: Wanted, measure: Measure) -> Plan:
            return make_plan(
                facts[name], wish, machine, measure, quantization=name, correct=correct
            )

        plans = [plan(name, wanted, bench.quick(name)) for name in facts]
        asked = [one for one in plans if candidates.quantization in (None, one.quantization)]
        if not asked:
            assert candidates.quantization is not None
            raise unusable[candidates.quantization]
        shown = picked = choose(asked)
        if shown is None:
            shown = max(asked, key=lambda one: one.headroom_bytes)
        checked = plan(shown.quantization, wanted, bench.exact(shown.quantization))  # spot check
        plans = [checked if one is shown else one for one in plans]
        shown = checked
        if picked is not None:
            again = [one for one in plans if candidates.quantization in (None, one.quantization)]
            picked = choose(again)
            shown = picked or shown
        exact = bench.exact(shown.quantization)

        def stretch(one: Plan) -> Plan:
            measure = exact if one is shown else bench.quick(one.quantization)
            return stretched(one, machine, measure, correct=correct)

        run = {one.quantization: stretch(one) for one in plans}
        longer = [plan(name, one, bench.quick(name)) for one in contexts for name in facts]
        others = [one for one in (*plans, *longer) if not same_context(one, run[one.quantization])]
        return Fit(
            name=candidates.spec.name,
            plans=tuple(run.values()),
            unusable=unusable,
            picked=picked and run[picked.quantization],
            shown=run[shown.quantization],
            explanation=explain(run[shown.quantization], machine, exact, plans),
            others=tuple(others),
            frontier=tuple(trade(run.values(), others)),
            projector=candidates.projector,
            elsewhere=frozenset(candidates.elsewhere),
        )


class _Bench:
    """The measures for all quantizations, on this machine or an imagined one.

    llama.cpp is asked about `likely`, and about what is shown if that is another one.
    """

    def __init__(
        self,
        candidates: Candidates,
        usable: Mapping[str, Headers],
        facts: Mapping[str, GgufFacts],
        machine: Machine,
        stack: ExitStack,
        likely: str,
    ) -> None:
        self._usable = usable
        self._facts = facts
        self._machine = machine
        self._stack = stack
        self._path = candidates.path
        self._named = candidates.quantization
        self._dry: dict[str, DryRuns] = {}
        self._sibling = Sibling(self._dry_runs(likely), usable[likely].facts, machine.gpu_names)

    def learn(self, runtimes: list[Runtime]) -> None:
        if not self._machine.imagined:
            self._sibling.learn(runtimes)

    def quick(self, name: str) -> Measure:
        if self._machine.imagined:
            return by_formula(self._facts[name], self._machine.gpu_names)
        return self._sibling.measure_of(self._facts[name])

    def exact(self, name: str) -> Measure:
        return self.quick(name) if self._machine.imagined else self._dry_runs(name).measure

    def _dry_runs(self, name: str) -> DryRuns:
        if name not in self._dry:
            made = DryRuns(self._usable[name].files, self._path if name == self._named else None)
            self._dry[name] = self._stack.enter_context(made)
        return self._dry[name]


def _all_facts(candidates: Candidates, usable: Mapping[str, Headers]) -> dict[str, GgufFacts]:
    """Of those that can be loaded, and of those that the catalog has elsewhere; most bits first."""
    facts = {name: headers.facts for name, headers in usable.items()}
    like = facts.get(candidates.quantization or "", next(iter(facts.values())))
    for name, size_bytes in candidates.elsewhere.items():
        facts[name] = resized(like, name, size_bytes)
    return dict(sorted(facts.items(), key=lambda item: -bits_per_weight(item[1])))


def _likely(
    facts: Mapping[str, GgufFacts], asked: str | None, wanted: Wanted, machine: Machine
) -> str:
    """The quantization that will be shown, by formula. Raises: ModelUnusable."""
    if asked in facts:
        return str(asked)
    plans = [
        make_plan(one, wanted, machine, by_formula(one, machine.gpu_names), quantization=name)
        for name, one in facts.items()
    ]
    best = choose(plans) or max(plans, key=lambda plan: plan.headroom_bytes)
    return best.quantization


def _sorted_out(
    candidates: Candidates,
) -> tuple[dict[str, Headers], dict[str, ModelUnusable]]:
    """Those that can be loaded, most bits first, and why others cannot. Raises: ModelUnusable."""
    usable: dict[str, Headers] = {}
    unusable: dict[str, ModelUnusable] = {}
    for name, found in candidates.found.items():
        if isinstance(found, ModelUnusable):
            unusable[name] = found
            continue
        try:
            check_loadable(found.facts)
            usable[name] = found
        except ModelUnusable as problem:
            unusable[name] = problem
    if not usable:
        raise next(iter(unusable.values()))
    by_bits = sorted(usable.items(), key=lambda item: -bits_per_weight(item[1].facts))
    return dict(by_bits), unusable


def other_contexts(facts: GgufFacts, wanted: Wanted) -> list[Wanted]:
    """The other contexts to show; none where the user has decided."""
    if wanted.context_tokens is not None:
        return []
    trained = facts.hyperparameters.context_length or 0
    planned = runtime_of(facts, wanted).context_tokens
    counts = {count for count in (*FRONTIER_CONTEXTS, trained) if planned < count <= trained}
    return [replace(wanted, context_tokens=count) for count in sorted(counts)]


def same_context(one: Plan, other: Plan) -> bool:
    """Whether both are run with as many tokens."""
    return one.runtime.context_tokens == other.runtime.context_tokens


def trade(plans: Iterable[Plan], others: Iterable[Plan]) -> list[Plan]:
    """The frontier, if there is more than one thing to choose."""
    found = frontier([*plans, *others])
    return found if len(found) > 1 else []


def rank_catalog(
    registry: Registry,
    wanted: Wanted,
    machine: Machine,
    known: Lessons = NOTHING_LEARNED,
) -> list[Plan]:
    """For each model of the catalog that writes text the best quantization that fits, else the one
    that comes nearest. Those that fit come first, of them those that are quick enough, of them the
    larger ones. By formula."""
    correct = uncorrected if machine.imagined else partial(known.correct, machine.key)
    plans = []
    for spec in registry:
        if spec.shape is None or not spec.quantizations or spec.kind == "embedding":
            continue
        wish = wanted.over(wanted_by(spec))
        trained = spec.shape.trained_context_tokens
        if wish.context_tokens is not None and wish.context_tokens > trained:
            continue
        options = []
        for name in spec.quantizations:
            facts = facts_of(spec, spec.shape, name)
            measure = by_formula(facts, machine.gpu_names)
            options.append(
                make_plan(facts, wish, machine, measure, quantization=name, correct=correct)
            )
        plans.append(choose(options) or max(options, key=lambda one: one.headroom_bytes))
    return sorted(plans, key=_rank)


def _rank(plan: Plan) -> tuple[bool, bool, int]:
    slow = decode_rate(plan) < USABLE_TOKENS_PER_SECOND
    return not plan.fits, slow, -plan.facts.parameters
