"""Deleting a model that localserve downloaded; models of others are refused.

Blocking disk access: call it from a worker thread.
"""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from localserve.catalog.downloaded import all_named, ambiguous, entry_of
from localserve.catalog.filenames import is_projector
from localserve.catalog.finders.record import OWNERS, FoundModel
from localserve.catalog.locate import unknown_model
from localserve.catalog.package import Package
from localserve.catalog.partial import partial_path, whole_path
from localserve.catalog.registry import Registry
from localserve.catalog.spec import ModelSpec
from localserve.config import Settings
from localserve.errors import ModelUnusable, NotDownloaded

LOCK: Final = ".download.lock"


def model_to_remove(name: str, models: tuple[FoundModel, ...], registry: Registry) -> FoundModel:
    """The model of exactly that name; localserve's own goes before others.

    Raises: AmbiguousName, where it has several of that name; NotDownloaded, UnknownModel.
    """
    own = [model for model in models if model.source == "localserve"]
    entry = registry.find(name)
    meant = all_named(name, own) or _of_entry(entry, own, registry)
    meant = meant or all_named(name, models) or _of_entry(entry, models, registry)
    if len(meant) > 1:
        raise ambiguous(name, meant)
    if not meant and entry is not None:
        raise NotDownloaded(f"{entry.name!r} is not on this disk; there is nothing to delete.")
    if not meant:
        raise unknown_model(name, registry, models)
    return meant[0]


def _of_entry(
    entry: ModelSpec | None, models: Iterable[FoundModel], registry: Registry
) -> list[FoundModel]:
    return [model for model in models if entry is not None and entry_of(model, registry) is entry]


def is_removable(found: FoundModel, settings: Settings) -> bool:
    """Whether localserve downloaded it, and into its own folder."""
    inside = all(file.is_relative_to(settings.models_dir) for file in found.files)
    return found.source == "localserve" and inside


def check_removable(found: FoundModel, settings: Settings) -> None:
    """Raises: ModelUnusable, with the owner's way to delete it, where it is not localserve's."""
    if is_removable(found, settings):
        return
    raise ModelUnusable(
        f"{found.full_name} is not deleted: it belongs to {OWNERS[found.source]}.",
        hint=_owners_way(found),
    )


def files_to_remove(found: FoundModel, settings: Settings) -> tuple[Path, ...]:
    """The model's files, and the projectors beside them that no other model is left to use."""
    folder = _download_folder(found, settings)
    if folder is None:
        return found.files
    rest = [path for path in folder.rglob("*.gguf*") if path not in found.files]
    projectors = [path for path in rest if is_projector(path.name.partition(".gguf")[0] + ".gguf")]
    return (*found.files, *sorted(projectors)) if len(projectors) == len(rest) else found.files


def remove(found: FoundModel, settings: Settings) -> int:
    """Delete a model's files and the folders that are empty then; returns the bytes freed.

    Raises: ModelUnusable, where it is not localserve's, is being downloaded, or a file cannot be
    deleted.
    """
    check_removable(found, settings)
    freed = 0
    try:
        with _no_download(_download_folder(found, settings)):
            files = files_to_remove(found, settings)
            for file in files:
                size_bytes = file.lstat().st_size
                file.unlink()
                freed += size_bytes
            for file in files:
                _remove_empty(file.parent, settings.models_dir)
    except OSError as error:
        raise ModelUnusable(
            f"{error.filename} cannot be deleted: {error.strerror or error}.",
            hint=f"{freed} bytes were freed before; end what uses the file and try again.",
        ) from error
    return freed


def discard_parts(package: Package, settings: Settings) -> int:
    """Delete what came of a download that was not whole; returns the bytes freed.

    Raises: ModelUnusable, where it goes on, or a part cannot be deleted.
    """
    freed = 0
    try:
        with _no_download(package.folder):
            for file in package.all_files:
                for path_of in (partial_path, whole_path):
                    part = path_of(package.place_of(file), file)
                    if part.is_file():
                        freed += part.stat().st_size
                        part.unlink()
        _remove_empty(package.folder, settings.models_dir)
    except OSError as error:
        raise ModelUnusable(
            f"{error.filename} cannot be deleted: {error.strerror or error}.",
            hint="End what uses the file and try again.",
        ) from error
    return freed


def _download_folder(found: FoundModel, settings: Settings) -> Path | None:
    """The folder of the repository or address: downloads into it are locked as one."""
    parts = found.path.relative_to(settings.models_dir).parts
    return settings.models_dir.joinpath(*parts[:2]) if len(parts) > 2 else None


@contextmanager
def _no_download(folder: Path | None) -> Iterator[None]:
    """Raises: ModelUnusable, where another process downloads into the folder."""
    from filelock import FileLock, Timeout

    if folder is None or not folder.is_dir():
        yield
        return
    try:
        with FileLock(folder / LOCK, timeout=0):
            yield
    except Timeout as error:
        raise ModelUnusable(
            f"Nothing is deleted: another process downloads into {folder}.",
            hint="End that download (Ctrl-C where it runs), or wait for it.",
        ) from error


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
