"""Service level objectives: what was promised of a server, and whether a step held it. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from operator import attrgetter
from typing import Final

from localserve.errors import LocalserveError
from localserve.loadtest.figures import StepFigures


class SloInvalid(LocalserveError):
    """An objective cannot be read."""

    code = "slo_invalid"
    description = "An objective of a load test is not known, or its bound is none."


@dataclass(frozen=True, slots=True)
class Metric:
    """Something that can be promised. `measure` gives None where a step answered nothing."""

    help: str
    measure: Callable[[StepFigures], float | None]
    at_least: bool = False
    most: float = math.inf


def _percentile(distribution: str, name: str) -> Callable[[StepFigures], float | None]:
    def measure(step: StepFigures) -> float | None:
        found = getattr(step, distribution)
        return None if found is None else float(getattr(found, name))

    return measure


METRICS: Final[Mapping[str, Metric]] = {
    **{
        f"{name}_{kind}": Metric(f"{text}, seconds", _percentile(kind, name))
        for kind, text in (
            ("ttft", "time to the first token"),
            ("itl", "time between two tokens"),
            ("total", "time of a whole answer"),
        )
        for name in ("p50", "p95", "p99")
    },
    "error_rate": Metric("share of requests that fail", attrgetter("error_rate"), most=1.0),
    "tokens_per_second": Metric(
        "tokens of all users, at least", attrgetter("tokens_per_second"), at_least=True
    ),
}
"""All that can be promised; each at most, but where it says otherwise."""


@dataclass(frozen=True, slots=True)
class Objective:
    """One promise: a name of METRICS, and its bound."""

    name: str
    bound: float

    def measure(self, step: StepFigures) -> float | None:
        """The figure that it is about; None where nothing was answered."""
        return METRICS[self.name].measure(step)

    def holds(self, step: StepFigures) -> bool:
        """Whether the step kept it. One that answered nothing kept nothing."""
        found = self.measure(step)
        if found is None:
            return False
        return found >= self.bound if METRICS[self.name].at_least else found <= self.bound

    def __str__(self) -> str:
        return f"{self.name} {'≥' if METRICS[self.name].at_least else '≤'} {self.bound:g}"


def parse_slo(text: str) -> tuple[Objective, ...]:
    """Objectives such as 'p95_ttft=0.5,error_rate=0.01'. Raises: SloInvalid."""
    found: dict[str, Objective] = {}
    for part in text.split(","):
        objective = _parse_objective(part.strip())
        if objective.name in found:
            raise SloInvalid(f"{objective.name} stands there twice.", hint="Leave one of them out.")
        found[objective.name] = objective
    return tuple(found.values())


def _parse_objective(part: str) -> Objective:
    name, separator, number = (piece.strip() for piece in part.partition("="))
    if not separator:
        raise SloInvalid(
            f"{part!r} is no objective.", hint="They are NAME=BOUND, such as p95_ttft=0.5."
        )
    if name not in METRICS:
        close = get_close_matches(name, METRICS, n=1)
        meant = f"Did you mean {close[0]}? " if close else ""
        raise SloInvalid(
            f"There is no objective {name!r}.", hint=f"{meant}There are {', '.join(METRICS)}."
        )
    metric = METRICS[name]
    try:
        bound = float(number)
    except ValueError:
        bound = math.nan
    if not (0 <= bound <= metric.most and bound < math.inf):
        most = f" from 0 to {metric.most:g}" if metric.most < math.inf else ", at least 0"
        raise SloInvalid(
            f"The bound of {name} is {number!r}.",
            hint=f"It is a number{most} ({metric.help}).",
        )
    return Objective(name, bound)
