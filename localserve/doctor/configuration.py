"""The settings and models.toml: whether they can be read, and where they are wrong."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Final

from localserve.catalog.registry import read_registry, shipped_registry
from localserve.config import SETTINGS, Settings, read_settings
from localserve.doctor.finding import Finding
from localserve.doctor.subject import Subject
from localserve.errors import LocalserveError
from localserve.gateway.exposure import check_gateway
from localserve.gateway.tls import check_tls

NAME = "configuration"

OTHER_VARIABLES: Final = ("LOCALSERVE_BACKEND",)
"""Those that are no settings: scripts/up reads them."""

PLACES: Final = ("config_dir", "config_file")
_NOWHERE: Final = str(Path(os.devnull) / "none")


def read_configuration(
    config: Path | None, environ: Mapping[str, str] | None = None
) -> tuple[Settings, tuple[Finding, ...]]:
    """The settings, and what is wrong with them.

    Where they cannot be read as they are, the file is left out, and if the fault is not there the
    environment too: everything else is still examined.
    """
    environ = os.environ if environ is None else environ
    try:
        return read_settings({"config_file": config}, environ), ()
    except LocalserveError as error:
        found = _found(error)
    variables = {one.name: one.variable for one in SETTINGS}
    file_variables = {variables[name] for name in PLACES}
    no_file = {name: text for name, text in environ.items() if name not in file_variables}
    no_file[variables["config_dir"]] = _NOWHERE
    try:
        return read_settings({}, no_file), (found,)
    except LocalserveError:
        bare = {name: text for name, text in no_file.items() if name not in variables.values()}
        return read_settings({}, bare | {variables["config_dir"]: _NOWHERE}), (found,)


def check_configuration(subject: Subject) -> Iterator[Finding]:
    settings = subject.settings
    yield from _about_file(settings)
    yield from _about_variables(subject.readings.environment)
    for check in (check_tls, check_gateway):
        yield from _refused(check, settings)


def _about_file(settings: Settings) -> Iterator[Finding]:
    path = settings.config_file
    if path is None:
        return
    try:
        own = read_registry(path, base=shipped_registry())
    except LocalserveError as error:
        yield _found(error)
        return
    set_here = sum(source.startswith(path.name) for source in settings.sources.values())
    message = f"{path}: models: {len(own)}, settings: {set_here}"
    yield Finding(NAME, "ok", message)


def _about_variables(environ: Mapping[str, str]) -> Iterator[Finding]:
    """A variable that nobody reads is a mistake that nothing else tells."""
    known = [one.variable for one in SETTINGS] + list(OTHER_VARIABLES)
    for name in sorted(environ):
        if name.startswith("LOCALSERVE_") and name not in known:
            near = get_close_matches(name, known, n=1)
            remedy = f"Did you mean {near[0]}?" if near else f"unset {name}"
            yield Finding(NAME, "warning", f"the variable {name} means nothing", remedy)
    given = [one.variable for one in SETTINGS if environ.get(one.variable)]
    yield Finding(NAME, "ok", f"variables: {', '.join(given) or 'none is set'}")


def _refused(check: Callable[[Settings], object], settings: Settings) -> Iterator[Finding]:
    try:
        check(settings)
    except LocalserveError as error:
        yield _found(error)


def _found(error: LocalserveError) -> Finding:
    return Finding(NAME, "problem", error.message, error.hint or None)
