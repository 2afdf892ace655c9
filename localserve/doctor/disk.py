"""Room for models and for what is computed of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from localserve.doctor.finding import Finding, Level
from localserve.doctor.subject import Subject

NAME = "disk"

LITTLE_BYTES: Final = 10 << 30
"""A model of 8 billion parameters takes about 5 GiB in four bits, and half of it is left free."""

NONE_BYTES: Final = 1 << 30
"""Less than this holds no model, and soon no log."""


def check_disk(subject: Subject) -> Iterator[Finding]:
    settings = subject.settings
    yield _about("models", settings.models_dir, subject)
    yield _about("caches", settings.cache_dir, subject)


def _about(holds: str, folder: Path, subject: Subject) -> Finding:
    """The folder may not exist yet: then its first ancestor that does is asked."""
    for place in (folder, *folder.parents):
        if (amounts := subject.readings.disk(place)) is not None:
            break
    else:
        return Finding(NAME, "warning", f"the room for {holds} in {folder} cannot be told")
    level: Level = "ok"
    if amounts.free < LITTLE_BYTES:
        level = "problem" if amounts.free < NONE_BYTES else "warning"
    free, total = amounts.free / 2**30, amounts.total / 2**30
    remedy = None
    if level != "ok":
        variable = "LOCALSERVE_MODELS_DIR" if holds == "models" else "LOCALSERVE_CACHE_DIR"
        remedy = f"Set {variable} to a folder of a larger disk, or `localserve rm` a model."
    message = f"{holds}: {free:.1f} GiB free of {total:.1f} GiB, for {folder}"
    return Finding(NAME, level, message, remedy)
