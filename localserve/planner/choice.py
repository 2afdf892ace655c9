"""Which quantization: the best that fits and is quick enough; and what one gives up for another.

Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from localserve.gguf.facts import GgufFacts
from localserve.planner.plan import Plan

USABLE_TOKENS_PER_SECOND: Final = 10.0
"""Slower than this people wait for words: they read some five a second, and models that think
write much that nobody reads. A better quantization is not worth that."""

FULL_BITS: Final = 8.0
"""Above so many bits per weight no quality is gained that anybody measured."""

GOOD_BITS: Final = 4.2
"""Below so many quality falls steeply: a slow answer of four bits is better than a quick one of
two."""


def bits_per_weight(facts: GgufFacts) -> float:
    """All tensors together; what the name of a quantization says is about as much."""
    return 8 * facts.weights_bytes / max(1, facts.parameters)


def quality(plan: Plan) -> float:
    """Orders quantizations of one model: bits per weight, as far as more of them are of use."""
    return min(bits_per_weight(plan.facts), FULL_BITS)


def choose(plans: Sequence[Plan]) -> Plan | None:
    """The plan to take of those that fit; None if none does.

    Of those with GOOD_BITS the best that is quick enough, else the quickest; then those with fewer
    bits, likewise. Where quality is the same the smaller one. Unknown speeds count as enough.
    """
    fitting = [plan for plan in plans if plan.fits]
    return max(fitting, key=_merit, default=None)


def _merit(plan: Plan) -> tuple[bool, bool, float, float]:
    bits, rate = quality(plan), decode_rate(plan)
    usable = rate >= USABLE_TOKENS_PER_SECOND
    best = bits if usable else rate
    return bits >= GOOD_BITS, usable, best, -plan.facts.weights_bytes


def decode_rate(plan: Plan) -> float:
    """Tokens per second; endless where it is not known."""
    return plan.speed.decode if plan.speed is not None else float("inf")


def frontier(plans: Sequence[Plan]) -> list[Plan]:
    """Those that fit and that no other beats in quality, context and speed at once."""
    fitting = [plan for plan in plans if plan.fits]
    return [plan for plan in fitting if not any(_beats(other, plan) for other in fitting)]


def _beats(one: Plan, other: Plan) -> bool:
    mine, its = _virtues(one), _virtues(other)
    return mine != its and all(a >= b for a, b in zip(mine, its, strict=True))


def _virtues(plan: Plan) -> tuple[float, float, float]:
    return quality(plan), plan.runtime.context_tokens, decode_rate(plan)
