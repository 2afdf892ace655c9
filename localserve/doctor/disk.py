"""The folders that localserve writes into: whether it can, and how much room there is."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from localserve.config import Settings
from localserve.doctor.finding import Finding, Level
from localserve.doctor.subject import Subject
from localserve.planner.readings import Amounts

NAME = "disk"

LITTLE_BYTES: Final = 10 << 30
"""A model of 8 billion parameters takes about 5 GiB in four bits, and as much stays free."""

NONE_BYTES: Final = 1 << 30
"""Less than this holds no model, and soon no log."""

TRIED_BYTES: Final = 4096
"""Written to see whether it can be: on a full disk an empty file can be made."""

FOLDERS: Final = {
    "data": "LOCALSERVE_DATA_DIR",
    "models": "LOCALSERVE_MODELS_DIR",
    "cache": "LOCALSERVE_CACHE_DIR",
    "prefixes": "LOCALSERVE_PREFIXES_DIR",
}
"""What is written, and the variable that puts it elsewhere."""


def check_disk(subject: Subject) -> Iterator[Finding]:
    for holds, folder in _folders(subject.settings).items():
        place = _nearest(folder)
        if (problem := _unwritable(place)) is not None:
            advice = f"Give this user the right to write there, or set {FOLDERS[holds]}."
            yield Finding(NAME, "problem", f"{holds}: {problem}", advice)
        else:
            yield _about_room(holds, folder, subject.readings.disk(place), made=place != folder)


def _folders(settings: Settings) -> dict[str, Path]:
    """By what they hold; one that lies in another is told only where it is not the usual one."""
    folders = {
        "data": settings.data_dir,
        "models": settings.models_dir,
        "cache": settings.cache_dir,
        "prefixes": settings.prefixes_dir,
    }
    if settings.prefixes_dir.is_relative_to(settings.cache_dir):
        del folders["prefixes"]
    return folders


def _nearest(folder: Path) -> Path:
    """The folder, or the first above it that exists: there it would be made."""
    return next((one for one in (folder, *folder.parents) if os.path.lexists(one)), folder)


def _unwritable(place: Path) -> str | None:
    try:
        with tempfile.TemporaryFile(dir=place) as file:
            file.write(bytes(TRIED_BYTES))
            file.flush()
    except OSError as error:
        return f"{place} cannot be written to ({error.strerror or error})"
    return None


def _about_room(holds: str, folder: Path, room: Amounts | None, *, made: bool) -> Finding:
    where = f"{holds}: {folder}{' (made when needed)' if made else ''}"
    if room is None:
        return Finding(NAME, "warning", f"{where}: the file system does not tell its room")
    free, total = room.free_bytes / 2**30, room.total_bytes / 2**30
    level: Level = "ok"
    if room.free_bytes < LITTLE_BYTES:
        level = "problem" if room.free_bytes < NONE_BYTES else "warning"
    advice = None
    if level != "ok":
        advice = f"Remove models (localserve rm), or set {FOLDERS[holds]} to a larger disk."
    return Finding(NAME, level, f"{where}: {free:.1f} GiB free of {total:.1f} GiB", advice)
