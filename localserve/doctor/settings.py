"""The settings as far as they can be read. Imports little: a broken package must not end it all."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from localserve.config import SETTINGS, Settings, read_settings
from localserve.doctor.finding import Finding
from localserve.errors import LocalserveError

NAME = "configuration"

FILE_VARIABLES: Final = ("LOCALSERVE_CONFIG_DIR", "LOCALSERVE_CONFIG_FILE")
_NO_FILE: Final = {"LOCALSERVE_CONFIG_DIR": str(Path(os.devnull) / "none")}


def read_what_can_be(
    config: Path | None, environ: Mapping[str, str] | None = None
) -> tuple[Settings, tuple[Finding, ...]]:
    """The settings, and what is wrong with them.

    Each variable that is wrong is left out, and so is the file if it is: everything else is still
    examined.
    """
    environ = os.environ if environ is None else environ
    found = []
    good = dict(environ)
    for name in (one.variable for one in SETTINGS if one.variable in environ):
        if name in FILE_VARIABLES:
            continue  # what is wrong may be the file, which is read below
        try:
            read_settings({}, {**_NO_FILE, name: environ[name]})
        except LocalserveError as error:
            found.append(found_in(error))
            del good[name]
    try:
        return read_settings({"config_file": config}, good), tuple(found)
    except LocalserveError as error:
        found.append(found_in(error))
    no_file = {name: text for name, text in good.items() if name not in FILE_VARIABLES}
    return read_settings({}, {**no_file, **_NO_FILE}), tuple(found)


def found_in(error: LocalserveError) -> Finding:
    """What is wrong, with its hint as advice."""
    return Finding(NAME, "problem", error.message, error.hint or None)
