"""Requests that name a route: which of its models they are put to, by what is known of them now.

A request that names a model is never routed. Lives on the event loop.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from starlette.types import Scope

from localserve.backends.base import ModelFacts
from localserve.catalog.routes import Route, RouteTable, Target
from localserve.catalog.spec import ModelSpec
from localserve.errors import KeyForbidden, LocalserveError, RouteClosed
from localserve.gateway.caller import Caller, caller_of
from localserve.manager import ModelManager, ModelReport, Ready
from localserve.manager.names import without_latest
from localserve.routing.choose import Candidate, Decision, Needs, choose
from localserve.routing.measured import Measured
from localserve.server.attempts import Way
from localserve.server.records import record_of


class Router:
    """The routes of models.toml over the models of one manager."""

    def __init__(self, manager: ModelManager, routes: RouteTable) -> None:
        self._manager = manager
        self.routes = routes
        self.measured = Measured()

    def reconfigure(self, routes: RouteTable) -> None:
        """Take over what models.toml says now."""
        self.routes = routes

    def find(self, name: str) -> Route | None:
        """The route of that name, also as clients of Ollama write it."""
        return self.routes.find(name) or self.routes.find(without_latest(name))

    def open_to(self, caller: Caller, models: Iterable[str]) -> tuple[Route, ...]:
        """The routes that a key may use: by their own name, or by one of `models`, which are all
        names of the models that it may use."""
        usable = {name.casefold() for name in models}
        return tuple(
            route
            for route in self.routes
            if caller.may_use((route.name,))
            or any(one.model.casefold() in usable for one in (*route.targets, *route.fallbacks))
        )

    async def way(self, scope: Scope, request: object, name: str) -> Way | None:
        """How a request that names a route is put to its models; None, where it names none.

        A key that is for some models only may use the route by its own name, else those of its
        models. Raises: KeyForbidden, RouteClosed.
        """
        route = self.find(name)
        if route is None:
            return None
        minute = minute_of_the_day()
        decision = await self.decide(route, Needs.of(request), minute, caller_of(scope))
        if not decision.order:
            raise _closed(decision, minute)
        return Way(decision, record_of(scope), self.measured)

    async def decide(self, route: Route, needs: Needs, minute: int, caller: Caller) -> Decision:
        """Which models are to be asked; loads and asks nothing. Raises: KeyForbidden."""
        whole = caller.may_use((route.name,))
        found = [await self._look_at(one) for one in (*route.targets, *route.fallbacks)]
        allowed = [one for one, names in found if whole or caller.may_use(names)]
        if not allowed:
            raise route_forbidden(route, caller)
        return choose(route, allowed, needs, minute)

    async def _look_at(self, target: Target) -> tuple[Candidate, Sequence[str]]:
        """What is known of a model, and its names."""
        measured, name = self.measured, target.model
        try:
            report = await self._manager.report_on(name)
        except LocalserveError:
            return Candidate(target, known=False, resting=measured.rests(name)), (name,)
        spec, facts = report.spec, _facts(report)
        capabilities = facts.capabilities if facts is not None else None
        candidate = Candidate(
            target,
            writes_text="completion" in capabilities if capabilities else _may_write(spec),
            tools=target.tools
            if target.tools is not None or not capabilities
            else "tools" in capabilities,
            context_tokens=target.context_tokens
            or (facts.context_tokens if facts is not None else spec.context_tokens)
            or None,
            waiting=report.waiting + (report.status.waiting if report.status is not None else 0),
            parameters=spec.shape.active_parameters
            if spec.shape is not None
            else (facts.parameters if facts is not None else None),
            first_token_seconds=measured.first_token_seconds(spec.name),
            resting=measured.rests(name),
        )
        return candidate, spec.names


def router_of(scope: Scope) -> Router:
    """The routes of the application that answers."""
    router = scope["app"].state.router
    assert isinstance(router, Router)
    return router


def route_forbidden(route: Route, caller: Caller) -> KeyForbidden:
    """The error to raise where a key is for none of a route's models."""
    return KeyForbidden(
        f"The key {caller.name!r} is for no model of the route {route.name!r}.",
        hint=f"It is for {', '.join(caller.models)}.",
    )


def minute_of_the_day() -> int:
    """Now, in local time."""
    now = datetime.now().astimezone()
    return now.hour * 60 + now.minute


def _facts(report: ModelReport) -> ModelFacts | None:
    return report.state.facts if isinstance(report.state, Ready) else None


def _may_write(spec: ModelSpec) -> bool | None:
    """What is known before the file is read."""
    return False if spec.pooling is not None or spec.kind == "embedding" else None


def _closed(decision: Decision, minute: int) -> RouteClosed:
    hours = ", ".join(f"{one.model} ({one.hours})" for one in decision.closed)
    return RouteClosed(
        f"No model of the route {decision.route.name!r} is open at"
        f" {minute // 60:02}:{minute % 60:02}: {hours}.",
        retry_after_seconds=60,
        hint="Name a model itself, or give the route a fallback in models.toml.",
    )
