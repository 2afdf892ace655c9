"""A route, what is known of its models and a request -> the order in which they are asked.

What cannot or must not answer now comes first: who is outside its hours is not asked at all; who
seems unable (tools, context), is busy or failed a moment ago is asked after all others. Within
these groups the route's strategy decides, and where that says nothing, the order in models.toml.
The route's fallbacks come behind. Pure.

    order       as written
    complexity  the lowest `up_to` that holds the request's score; then higher ones, then lower
    latency     the shortest measured time to the first token; what was not measured lately first
    cost        the lowest `cost`, where none is given 0; then the fewest active parameters
    weight      by chance in proportion to `weight`, the same for every turn of a conversation
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from localserve.backends.affinity import beginning_of, drawn
from localserve.catalog.routes import Route, Target
from localserve.chat import EmbeddingRequest, RerankRequest
from localserve.routing.complexity import Complexity, Features, complexity, features_of

Lack = Literal["unknown", "task", "tools", "context", "queue", "resting"]
"""What speaks against a model now: it does not exist, was made for something else, takes no tools,
has too small a context, too many wait for it, it failed a moment ago."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """What is known of one model of a route; None where nothing is.

    `waiting` requests wait for it, `first_token_seconds` is measured, `parameters` are those that
    one token uses.
    """

    target: Target
    known: bool = True
    writes_text: bool | None = None
    tools: bool | None = None
    context_tokens: int | None = None
    waiting: int = 0
    parameters: int | None = None
    first_token_seconds: float | None = None
    resting: bool = False


@dataclass(frozen=True, slots=True)
class Needs:
    """What a request asks of a model. `conversation` is the same for all turns of one."""

    features: Features
    complexity: Complexity
    writes_text: bool = True
    conversation: str = ""

    @classmethod
    def of(cls, request: object) -> Needs:
        """What a request of the chat vocabulary asks."""
        features = features_of(request)
        return cls(
            features,
            complexity(features),
            not isinstance(request, EmbeddingRequest | RerankRequest),
            beginning_of(request),
        )

    @property
    def tokens(self) -> int:
        """A guess at prompt and answer together."""
        return self.features.prompt_tokens + (self.features.max_tokens or 0)


@dataclass(frozen=True, slots=True)
class Choice:
    """One model to be asked, at its place; `why` in words, `lacks` what speaks against it."""

    model: str
    why: str
    lacks: tuple[Lack, ...] = ()


@dataclass(frozen=True, slots=True)
class Decision:
    """The models of a route to be asked, first to last, and those that are closed now."""

    route: Route
    needs: Needs
    order: tuple[Choice, ...]
    closed: tuple[Target, ...] = ()


def choose(route: Route, candidates: Sequence[Candidate], needs: Needs, minute: int) -> Decision:
    """The order; `candidates` are the route's targets, then its fallbacks, each in its own order.

    `minute` is that of the day, local time. The order may be empty where all are closed.
    """
    count = len(route.targets)
    open_now = [one for one in candidates if _is_open(one.target, minute)]
    first = [one for one in open_now if one.target in route.targets]
    behind = [one for one in open_now if one.target not in route.targets]
    ranked = sorted(first, key=lambda one: (_serious(one, route, needs), _key(route, one, needs)))
    ranked += sorted(behind, key=lambda one: _serious(one, route, needs))
    return Decision(
        route,
        needs,
        tuple(_choice(route, one, needs) for one in ranked),
        tuple(one.target for one in candidates[:count] if one not in open_now),
    )


def lacks_of(candidate: Candidate, route: Route, needs: Needs) -> tuple[Lack, ...]:
    """What speaks against a model now."""
    found: list[Lack] = []
    if not candidate.known:
        found.append("unknown")
    if candidate.writes_text is not None and candidate.writes_text != needs.writes_text:
        found.append("task")
    if needs.features.tools and candidate.tools is False:
        found.append("tools")
    if candidate.context_tokens is not None and needs.tokens > candidate.context_tokens:
        found.append("context")
    if route.max_waiting is not None and candidate.waiting > route.max_waiting:
        found.append("queue")
    if candidate.resting:
        found.append("resting")
    return tuple(found)


_SERIOUS: tuple[Lack, ...] = ("queue", "resting", "tools", "context", "task", "unknown")
"""The worse, the later."""


def _serious(candidate: Candidate, route: Route, needs: Needs) -> int:
    """0 where nothing speaks against a model, else how much the worst of it does."""
    found = lacks_of(candidate, route, needs)
    return max((_SERIOUS.index(lack) + 1 for lack in found), default=0)


def _is_open(target: Target, minute: int) -> bool:
    return target.hours is None or target.hours.hold(minute)


def _key(route: Route, one: Candidate, needs: Needs) -> tuple[float, float]:
    """What sorts the models of a route; what is lower comes first."""
    match route.by:
        case "complexity":
            suits = needs.complexity.score <= one.target.up_to
            return (0.0, one.target.up_to) if suits else (1.0, -one.target.up_to)
        case "latency":
            seconds = one.first_token_seconds
            return (0.0 if seconds is None else 1.0, seconds or 0.0)
        case "cost":
            size = math.inf if one.parameters is None else float(one.parameters)
            return (one.target.cost or 0.0, size)
        case "weight":
            return (drawn(needs.conversation, one.target.model, one.target.weight), 0.0)
        case "order":
            return (0.0, 0.0)


def _choice(route: Route, one: Candidate, needs: Needs) -> Choice:
    why = _why(route, one, needs) if one.target in route.targets else "fallback"
    return Choice(one.target.model, why, lacks_of(one, route, needs))


def _why(route: Route, one: Candidate, needs: Needs) -> str:
    match route.by:
        case "complexity":
            score = needs.complexity.score
            sign = "<=" if score <= one.target.up_to else ">"
            return f"complexity {score:.2f} {sign} {one.target.up_to:.2f}"
        case "latency":
            seconds = one.first_token_seconds
            return "latency not measured" if seconds is None else f"latency {seconds:.3f} s"
        case "cost":
            return f"cost {one.target.cost or 0:g}"
        case "weight":
            return f"weight {one.target.weight:g}"
        case "order":
            return "order"
