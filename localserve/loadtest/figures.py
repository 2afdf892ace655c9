"""What a step of a load test comes to: percentiles, rates, and where more users gain nothing. Pure.

Seconds everywhere.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from localserve.loadtest.answer import Answer, Failure, Outcome

SATURATED_SHARE: Final = 0.9
"""Whoever has this share of the most tokens a second has as good as all of them."""


@dataclass(frozen=True, slots=True)
class Distribution:
    """Percentiles; each is one of the values that were measured."""

    p50: float
    p95: float
    p99: float


@dataclass(frozen=True, slots=True)
class StepFigures:
    """One step. `errors` counts by reason; distributions are None where nothing was answered.

    `tokens_per_second` are those of all users that arrived while the step lasted, of answers that
    came to their end.
    """

    users: int
    seconds: float
    requests: int
    errors: Mapping[str, int]
    ttft: Distribution | None
    itl: Distribution | None
    total: Distribution | None
    tokens_per_second: float

    @property
    def error_rate(self) -> float:
        """The share of requests that failed."""
        return sum(self.errors.values()) / self.requests if self.requests else 0.0


def percentile(values: Sequence[float], percent: float) -> float:
    """The least of the values that `percent` of a hundred do not exceed (nearest rank).

    Raises: ValueError, where there are none.
    """
    if not values:
        raise ValueError("no values have no percentile")
    return sorted(values)[max(0, math.ceil(percent / 100 * len(values)) - 1)]


def distribution(values: Sequence[float]) -> Distribution | None:
    """The percentiles, or None where there are no values."""
    if not values:
        return None
    ordered = sorted(values)
    return Distribution(*(percentile(ordered, percent) for percent in (50, 95, 99)))


def step_figures(
    users: int, began: float, seconds: float, outcomes: Sequence[Outcome]
) -> StepFigures:
    """The figures of a step that began at `began`, by the clock of its answers."""
    answers = [one for one in outcomes if isinstance(one, Answer)]
    reasons = Counter(one.reason for one in outcomes if isinstance(one, Failure))
    tokens = sum(one.tokens_until(began + seconds) for one in answers)
    return StepFigures(
        users=users,
        seconds=seconds,
        requests=len(outcomes),
        errors=dict(reasons.most_common()),
        ttft=distribution([one.first_token_seconds for one in answers]),
        itl=distribution([gap for one in answers for gap in one.gaps_seconds()]),
        total=distribution([one.total_seconds for one in answers]),
        tokens_per_second=tokens / seconds,
    )


def saturation(steps: Sequence[StepFigures]) -> StepFigures | None:
    """The step of the fewest users that get nine tenths of the most tokens a second.

    None where that is the step of the most users: a larger one might get more yet.
    """
    most = max((step.tokens_per_second for step in steps), default=0.0)
    ordered = sorted(steps, key=lambda step: step.users)
    for step in ordered[:-1]:
        if most > 0 and step.tokens_per_second >= SATURATED_SHARE * most:
            return step
    return None
