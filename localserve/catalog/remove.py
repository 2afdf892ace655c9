"""Deleting a model that localserve downloaded; models of others are refused.

Blocking disk access: call it from a worker thread.
"""

from __future__ import annotations

import contextlib
import shlex
from pathlib import Path
from typing import Final

from localserve.catalog.finders.record import OWNERS, FoundModel
from localserve.config import Settings
from localserve.errors import ModelUnusable

LOCK: Final = ".download.lock"


def check_removable(found: FoundModel, settings: Settings) -> None:
    """Raises: ModelUnusable, with the owner's way to delete it, where it is not localserve's."""
    inside = all(file.is_relative_to(settings.models_dir) for file in found.files)
    if found.source == "localserve" and inside:
        return
    raise ModelUnusable(
        f"{found.full_name} is not deleted: it belongs to {OWNERS[found.source]}.",
        hint=_owners_way(found),
    )


def remove(found: FoundModel, settings: Settings) -> int:
    """Delete a model's files and the folders that are empty then; returns the bytes freed.

    Raises: ModelUnusable, where it is not localserve's or a file cannot be deleted.
    """
    check_removable(found, settings)
    freed = 0
    try:
        for file in found.files:
            size_bytes = file.lstat().st_size
            file.unlink()
            freed += size_bytes
    except OSError as error:
        raise ModelUnusable(
            f"{error.filename} cannot be deleted: {error.strerror or error}.",
            hint=f"{freed} bytes were freed before; end what uses the file and try again.",
        ) from error
    for file in found.files:
        _remove_empty(file.parent, settings.models_dir)
    return freed


def _remove_empty(folder: Path, top: Path) -> None:
    """Remove a folder and those around it, up to `top`, as long as nothing is in them."""
    while folder != top and folder.is_relative_to(top) and folder.is_dir():
        if [path.name for path in folder.iterdir()] == [LOCK]:
            with contextlib.suppress(OSError):
                (folder / LOCK).unlink()
        try:
            folder.rmdir()
        except OSError:
            return
        folder = folder.parent


def _owners_way(found: FoundModel) -> str:
    files = " ".join(shlex.quote(str(file)) for file in found.files)
    match found.source:
        case "ollama":
            return f"Run: ollama rm {shlex.quote(found.name)}"
        case "hub":
            return f"Run: hf cache rm {shlex.quote(f'model/{found.repo}')} (all of the repository)"
        case "lm-studio":
            return "Delete it in LM Studio, under My Models."
        case "built-in":
            return "It ships with localserve and takes no more room than the package."
        case "llama.cpp" | "models.toml" | "localserve":
            return f"Delete the files yourself: rm {files}"
