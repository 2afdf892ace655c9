"""models.toml, the variables, and what a start would refuse of the settings."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from difflib import get_close_matches
from typing import Final

from localserve.catalog.registry import read_registry, shipped_registry
from localserve.catalog.routes import load_routes
from localserve.config import SETTINGS, Settings
from localserve.doctor.finding import Finding
from localserve.doctor.settings import NAME, found_in
from localserve.doctor.subject import Subject
from localserve.errors import LocalserveError, StoreFailed
from localserve.gateway.exposure import check_gateway
from localserve.gateway.tls import check_tls
from localserve.server.observing import check_observing

PREFIX: Final = "LOCALSERVE_"

OTHER_VARIABLES: Final = ("LOCALSERVE_BACKEND", "LOCALSERVE_ZED_API_KEY")
"""Those that are no settings: scripts/up reads the first, Zed the other."""


def check_configuration(subject: Subject) -> Iterator[Finding]:
    settings = subject.settings
    yield from _about_file(settings)
    yield from _about_variables(subject.readings.environment)
    for check in (check_tls, check_gateway, check_observing):
        yield from _refused(check, settings)


def _about_file(settings: Settings) -> Iterator[Finding]:
    path = settings.config_file
    if path is None:
        return
    try:
        models = len(read_registry(path, base=shipped_registry()))
        routes = len(tuple(load_routes(settings)))
    except LocalserveError as error:
        yield found_in(error)
        return
    set_here = sum(source.startswith(path.name) for source in settings.sources.values())
    message = f"{path}: models: {models}, routes: {routes}, settings: {set_here}"
    yield Finding(NAME, "ok", message)


def _about_variables(environ: Mapping[str, str]) -> Iterator[Finding]:
    """A variable that nobody reads is a mistake that nothing else tells."""
    variables = (*(one.variable for one in SETTINGS), *OTHER_VARIABLES)
    known = [name.removeprefix(PREFIX) for name in variables if name.startswith(PREFIX)]
    for name in sorted(environ):
        if name.startswith(PREFIX) and name not in variables:
            near = get_close_matches(name.removeprefix(PREFIX), known, n=1)
            advice = f"Did you mean {PREFIX}{near[0]}?" if near else None
            message = f"the variable {name} means nothing"
            yield Finding(NAME, "warning", message, advice, () if near else (f"unset {name}",))
    given = [one.variable for one in SETTINGS if environ.get(one.variable)]
    yield Finding(NAME, "ok", f"variables: {', '.join(given) or 'none is set'}")


def _refused(check: Callable[[Settings], object], settings: Settings) -> Iterator[Finding]:
    try:
        check(settings)
    except StoreFailed:
        return  # the check of the keys tells it
    except LocalserveError as error:
        yield found_in(error)
