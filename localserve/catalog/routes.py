"""`[routes.NAME]` tables of models.toml -> Route: names that stand for one of several models.

Knows nothing of requests and of how a model is chosen (that is `routing`). Any thread.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Final, Literal, NoReturn

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from localserve.catalog.entry import first_mistake
from localserve.catalog.registry import Registry, read_registry, shipped_registry
from localserve.config import Settings
from localserve.toml import KeyPath, TomlFile, read_toml

Strategy = Literal["order", "complexity", "latency", "cost", "weight"]
"""What decides among the models of a route that can take a request."""

MINUTES_OF_A_DAY: Final = 24 * 60

_HOURS = r"^([01]\d|2[0-3]):[0-5]\d-([01]\d|2[0-3]):[0-5]\d$"

Name = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^\S+$")]


@dataclass(frozen=True, slots=True)
class Hours:
    """A time of day that comes back every day, in minutes since midnight; `end` is not in it. It
    may span midnight; where both are the same it is the whole day."""

    begin: int
    end: int

    def hold(self, minute: int) -> bool:
        """Whether this minute of the day is one of them."""
        since_begin = (minute - self.begin) % MINUTES_OF_A_DAY
        return since_begin < ((self.end - self.begin) % MINUTES_OF_A_DAY or MINUTES_OF_A_DAY)

    def __str__(self) -> str:
        return "-".join(f"{minute // 60:02}:{minute % 60:02}" for minute in (self.begin, self.end))


@dataclass(frozen=True, slots=True)
class Target:
    """One model of a route, by any of its names.

    `up_to` is the highest complexity (0 to 1) that it is meant for, `cost` what a million tokens
    cost in any currency (None: nothing is known), `weight` its share. `tools` and `context_tokens`
    say what it can do where its file does not (None).
    """

    model: str
    up_to: float = 1.0
    cost: float | None = None
    weight: float = 1.0
    tools: bool | None = None
    context_tokens: int | None = None
    hours: Hours | None = None


@dataclass(frozen=True, slots=True)
class Route:
    """A name that stands for one of `targets`, in the order in which they were written.

    `fallbacks` are models that are asked when none of those could answer. A model for which more
    than `max_waiting` requests wait is asked later (None: none is), one that has said nothing after
    `first_token_seconds` is given up (None: none is).
    """

    name: str
    by: Strategy
    targets: tuple[Target, ...]
    fallbacks: tuple[Target, ...] = ()
    max_waiting: int | None = None
    first_token_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class RouteTable:
    """The routes by name, whatever the case of the letters."""

    routes: tuple[Route, ...] = ()
    _by_name: Mapping[str, Route] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_by_name", {one.name.casefold(): one for one in self.routes})

    def __iter__(self) -> Iterator[Route]:
        return iter(self.routes)

    def find(self, name: str) -> Route | None:
        """The route of that name."""
        return self._by_name.get(name.casefold())


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class TargetTable(_Table):
    up_to: float = Field(1.0, ge=0, le=1)
    cost: float | None = Field(None, ge=0, le=1e9)
    weight: float = Field(1.0, gt=0, le=1e6)
    tools: bool | None = None
    context: int | None = Field(None, ge=64, le=1 << 24)
    hours: str | None = Field(None, pattern=_HOURS)


class RouteTables(_Table):
    by: Strategy = "order"
    models: dict[Name, TargetTable] = Field(min_length=1, max_length=100)
    fallback: list[Name] = Field(default=[], max_length=100)
    max_waiting: int | None = Field(None, ge=0, le=100_000)
    first_token_seconds: float | None = Field(None, gt=0, le=86_400)


def load_routes(settings: Settings) -> RouteTable:
    """The routes of the user's configuration file; none without one. Raises: ConfigInvalid."""
    path = settings.config_file
    if path is None:
        return RouteTable()
    shipped = shipped_registry()
    return read_routes(read_toml(path), shipped.merged(read_registry(path, base=shipped)))


def read_routes(document: TomlFile, registry: Registry) -> RouteTable:
    """Read the `[routes]` tables of one file, whose names must not be those of models.

    The models of a route need not be in `registry`: others may lie on the disk. Raises:
    ConfigInvalid, which names the file and the line.
    """
    routes: dict[str, Route] = {}
    for name, table in document.table("routes").items():
        place = ("routes", name)
        if not isinstance(table, dict):
            raise document.error(place, f"{name!r} must be a table: write [routes.{name}].")
        if not re.fullmatch(r"\S{1,200}", name):
            raise document.error(place, f"the name {name!r} must be one word.")
        if (model := registry.find(name)) is not None:
            raise document.error(
                place,
                f"{name!r} is the name of a model ({model.name}), and would hide it.",
                hint="Give the route another name, such as 'auto'.",
            )
        if name.casefold() in routes:
            raise document.error(place, f"the route {name!r} is there twice: case is ignored.")
        routes[name.casefold()] = _read_route(document, place, table)
    for route in routes.values():
        _check_targets(document, route, routes)
    return RouteTable(tuple(routes.values()))


def _read_route(document: TomlFile, place: KeyPath, table: Mapping[str, object]) -> Route:
    try:
        tables = RouteTables.model_validate(table)
    except ValidationError as error:
        _raise_first(document, place, error)
    return Route(
        name=place[-1],
        by=tables.by,
        targets=tuple(_target(name, one) for name, one in tables.models.items()),
        fallbacks=tuple(Target(name) for name in tables.fallback),
        max_waiting=tables.max_waiting,
        first_token_seconds=tables.first_token_seconds,
    )


def _target(model: str, table: TargetTable) -> Target:
    return Target(
        model=model,
        up_to=table.up_to,
        cost=table.cost,
        weight=table.weight,
        tools=table.tools,
        context_tokens=table.context,
        hours=_hours(table.hours) if table.hours is not None else None,
    )


def _hours(text: str) -> Hours:
    begin, end = (int(time[:2]) * 60 + int(time[3:]) for time in text.split("-"))
    return Hours(begin, end)


def _check_targets(document: TomlFile, route: Route, routes: Mapping[str, Route]) -> None:
    """Raises: ConfigInvalid, where a route leads to a route, or to one model twice."""
    seen: set[str] = set()
    for key, targets in (("models", route.targets), ("fallback", route.fallbacks)):
        for target in targets:
            place = ("routes", route.name, key, target.model)
            if target.model.casefold() in routes:
                raise document.error(
                    place,
                    f"{target.model!r} is a route itself.",
                    hint="Routes lead to models: name those of that route here.",
                )
            if target.model.casefold() in seen:
                raise document.error(place, f"the model {target.model!r} is there twice.")
            seen.add(target.model.casefold())


def _raise_first(document: TomlFile, place: KeyPath, error: ValidationError) -> NoReturn:
    """Raise the first error that pydantic found as one that names the line."""
    first, keys = first_mistake(document, place, error)
    if first["type"] == "extra_forbidden":
        table = TargetTable if len(keys) > 1 else RouteTables
        raise document.unknown_key((*place, *keys), list(table.model_fields)) from None
    if first["type"] == "missing":
        raise document.error(
            place,
            "the key 'models' is missing.",
            hint=f"Write [{'.'.join(place)}.models] with a line for each: my-model = {{}}.",
        ) from None
    dotted = ".".join(keys)
    if first["type"] in ("model_type", "dict_type"):
        problem = f"{dotted!r} must be a table of its own keys; {{}} will do."
    elif keys[-1] == "hours":
        problem = f"{dotted} is {first['input']!r}; write it as '22:00-06:00'."
    else:
        problem = f"{dotted} is {first['input']!r}: {first['msg'].lower()}."
    raise document.error((*place, *keys), problem) from None
