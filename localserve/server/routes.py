"""`GET /admin/routes/explain`: what a route would do with a request, without asking anybody.

Lives on the event loop.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from localserve.backends.affinity import beginning_of
from localserve.catalog.routes import Route
from localserve.chat import ChatRequest, Message
from localserve.errors import FieldProblem, InvalidSchema, UnknownModel
from localserve.gateway.caller import caller_of
from localserve.routing.choose import Decision, Needs
from localserve.routing.complexity import Features, complexity, features_of
from localserve.server.router import Router, minute_of_the_day, router_of

Count = Annotated[int, Field(ge=0, le=10_000_000)]


class Asked(BaseModel):
    """The request that is supposed: the query of the URL."""

    model_config = ConfigDict(extra="forbid")

    route: str
    prompt: str = ""
    system: str = ""
    context_tokens: Count = 0
    turns: int = Field(1, ge=1, le=100_000)
    tools: Count = 0
    max_tokens: Count | None = None
    at: str | None = Field(None, pattern=r"^([01]\d|2[0-3]):[0-5]\d$")

    def needs(self) -> Needs:
        """What such a request asks of a model."""
        system = (Message("system", self.system),) if self.system else ()
        request = ChatRequest(self.route, (*system, Message("user", self.prompt)))
        seen = features_of(request)
        features = Features(
            seen.asked,
            seen.other_tokens + self.context_tokens,
            self.turns,
            self.tools,
            self.max_tokens,
        )
        return Needs(features, complexity(features), True, beginning_of(request))

    def minute(self) -> int:
        """The minute of the day for which it is asked."""
        if self.at is None:
            return minute_of_the_day()
        return int(self.at[:2]) * 60 + int(self.at[3:])


class RouteExplanation:
    """The endpoint."""

    async def show(self, request: Request) -> Response:
        """The order of the models and why. Raises: InvalidSchema, UnknownModel, KeyForbidden."""
        asked = _asked(request)
        router = router_of(request.scope)
        route = _route(router, asked.route)
        needs, minute = asked.needs(), asked.minute()
        decision = await router.decide(route, needs, minute, caller_of(request.scope))
        return JSONResponse(_fields(decision, minute))


def _asked(request: Request) -> Asked:
    try:
        return Asked.model_validate(dict(request.query_params))
    except ValidationError as error:
        raise InvalidSchema(
            tuple(
                FieldProblem(".".join(map(str, one["loc"])), one["msg"], one["type"])
                for one in error.errors(include_url=False)
            )
        ) from None


def _route(router: Router, name: str) -> Route:
    route = router.find(name)
    if route is None:
        known = tuple(one.name for one in router.routes)
        raise UnknownModel(
            name, known, hint="Routes are tables of models.toml, such as [routes.auto]."
        )
    return route


def _fields(decision: Decision, minute: int) -> dict[str, object]:
    needs = decision.needs
    return {
        "route": decision.route.name,
        "by": decision.route.by,
        "at": f"{minute // 60:02}:{minute % 60:02}",
        "tokens": needs.tokens,
        "complexity": round(needs.complexity.score, 4),
        "complexity_parts": {name: round(part, 4) for name, part in needs.complexity.parts.items()},
        "order": [
            {"model": one.model, "why": one.why, "against": list(one.lacks)}
            for one in decision.order
        ],
        "closed": [{"model": one.model, "hours": str(one.hours)} for one in decision.closed],
        "max_waiting": decision.route.max_waiting,
        "first_token_seconds": decision.route.first_token_seconds,
    }
