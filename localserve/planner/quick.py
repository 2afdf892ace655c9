"""Does it fit, by formula alone: for lists that nobody should have to wait for. Pure.

llama.cpp is not asked, so amounts are some percent off; what is loaded is counted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial

from localserve.gguf.facts import GgufFacts
from localserve.planner.choice import bits_per_weight, choose
from localserve.planner.explain import explain
from localserve.planner.fit import Fit, other_contexts, same_context, trade
from localserve.planner.gauge import by_formula
from localserve.planner.learned import NOTHING_LEARNED, Lessons
from localserve.planner.machine import Machine, emptied
from localserve.planner.plan import Plan, Wanted, make_plan, stretched
from localserve.planner.verdict import Level


@dataclass(frozen=True, slots=True)
class Subject:
    """A model as it would be run: its facts by quantization, at least one, and what is wanted.

    `here` is the quantization of the file on this disk; of the others only the bytes are known.
    """

    name: str
    facts: Mapping[str, GgufFacts] = field(repr=False)
    wanted: Wanted
    here: str | None = None


@dataclass(frozen=True, slots=True)
class Outlook:
    """The plan to look at, and whether it fits now, if other programs ended, or never."""

    plan: Plan
    level: Level


def outlook(subject: Subject, machine: Machine, known: Lessons = NOTHING_LEARNED) -> Outlook:
    """Of the file that is here; else of the quantization that would be chosen.

    Raises: ModelUnusable, where the model was not trained for the context that is wanted.
    """
    planner = _Planner(subject, machine, known)
    names = [subject.here] if subject.here is not None else list(subject.facts)
    plan = _best([planner.plan(name, subject.wanted) for name in names])
    return Outlook(planner.stretch(plan), planner.level(plan))


def quick_fit(
    subject: Subject, machine: Machine, known: Lessons = NOTHING_LEARNED
) -> tuple[Fit, Level]:
    """All that `fit` tells of one model. Raises: as `outlook`."""
    planner = _Planner(subject, machine, known)
    names = sorted(subject.facts, key=lambda name: -bits_per_weight(subject.facts[name]))
    plans = [planner.plan(name, subject.wanted) for name in names]
    asked = [one for one in plans if subject.here in (None, one.quantization)]
    shown = _best(asked)
    contexts = other_contexts(shown.facts, subject.wanted)
    longer = [planner.plan(name, wanted) for wanted in contexts for name in names]
    run = {one.quantization: planner.stretch(one) for one in plans}
    others = [one for one in (*plans, *longer) if not same_context(one, run[one.quantization])]
    shown = run[shown.quantization]
    measure = by_formula(shown.facts, machine.gpu_names)
    fit = Fit(
        name=subject.name,
        plans=tuple(run.values()),
        unusable={},
        picked=shown if shown.fits else None,
        shown=shown,
        explanation=explain(shown, planner.machine, measure, plans),
        others=tuple(others),
        frontier=tuple(trade(run.values(), others)),
        elsewhere=frozenset(names) - {subject.here} if subject.here is not None else frozenset(),
    )
    return fit, planner.level(shown)


class _Planner:
    """Plans one model for one machine, with what earlier loads and answers taught."""

    def __init__(self, subject: Subject, machine: Machine, known: Lessons) -> None:
        self._facts = subject.facts
        architecture = next(iter(subject.facts.values())).architecture
        surcharge = known.surcharge(architecture, machine.backend)
        self.machine = replace(machine, surcharge=surcharge)
        self._correct = partial(known.correct, machine.key)

    def plan(self, name: str, wanted: Wanted) -> Plan:
        return self._plan_on(self.machine, name, wanted)

    def stretch(self, plan: Plan) -> Plan:
        """With the context that it would be run with."""
        measure = by_formula(plan.facts, self.machine.gpu_names)
        return stretched(plan, self.machine, measure, correct=self._correct)

    def level(self, plan: Plan) -> Level:
        if plan.fits:
            return "fits"
        alone = self._plan_on(emptied(self.machine), plan.quantization, plan.wanted)
        return "not now" if alone.fits else "too large"

    def _plan_on(self, machine: Machine, name: str, wanted: Wanted) -> Plan:
        facts = self._facts[name]
        measure = by_formula(facts, machine.gpu_names)
        return make_plan(facts, wanted, machine, measure, quantization=name, correct=self._correct)


def _best(plans: list[Plan]) -> Plan:
    """The one to choose; where none fits the one that comes nearest."""
    return choose(plans) or max(plans, key=lambda one: one.headroom_bytes)
