"""Folders of .gguf files -> models: shards put together, what is no model left out.

Knows no program's layout. Blocking disk access; any thread.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final

from localserve.catalog.filenames import is_model_file, name_of_file, shard_names, without_shard
from localserve.catalog.finders.peek import peek
from localserve.catalog.finders.record import Findings, FoundModel, Source

MAX_FILES: Final = 10_000
"""So many entries of a folder tree are looked at; a note says when there were more."""


def find_in(
    folder: Path, source: Source, *, depth: int, repo_of: Callable[[Path], str | None]
) -> Findings:
    """The models below a folder, at most `depth` folders deep.

    `repo_of` gives the hub's repository for a path relative to the folder. A folder that does not
    exist has none. Links to folders are followed, hidden folders are not.
    """
    notes: list[str] = []
    paths = [path for path in _files(folder, depth, notes) if is_model_file(path.name)]
    models = []
    for shards in group_shards(paths):
        found = to_model(shards, source, repo_of(shards[0].relative_to(folder)))
        if found is not None:
            models.append(found)
    return Findings(tuple(models), tuple(notes))


def group_shards(paths: Iterable[Path]) -> list[list[Path]]:
    """Files that belong together, first shard first; in the order of their names."""
    groups: dict[Path, list[Path]] = {}
    for path in sorted(paths):
        groups.setdefault(path.with_name(without_shard(path.name)), []).append(path)
    return list(groups.values())


def to_model(shards: list[Path], source: Source, repo: str | None) -> FoundModel | None:
    """The model of these files; None where they are something else (see `peek`)."""
    peeked = peek(shards[0])
    if not peeked.is_model:
        return None
    sizes_and_times = [_size_and_time(path) for path in shards]
    names = shard_names(shards[0].name)
    problem = peeked.problem
    if len(shards) < len(names):
        problem = f"{len(names) - len(shards)} of its {len(names)} files are missing"
    return FoundModel(
        name=name_of_file(shards[0].name),
        source=source,
        files=tuple(shards),
        size_bytes=sum(size for size, _ in sizes_and_times),
        used_at=max(written for _, written in sizes_and_times),
        repo=repo,
        architecture=peeked.architecture,
        pooling=peeked.pooling,
        problem=problem,
    )


def _size_and_time(path: Path) -> tuple[int, float]:
    try:
        status = path.stat()
    except OSError:  # it went away a moment ago
        return 0, 0.0
    return status.st_size, status.st_mtime


def _files(folder: Path, depth: int, notes: list[str]) -> Iterator[Path]:
    count = 0
    waiting = [(folder, depth)]
    while waiting:
        here, levels = waiting.pop()
        for entry in list_folder(here, notes):
            count += 1
            if count > MAX_FILES:
                notes.append(f"{folder} has more than {MAX_FILES} files; not all were looked at.")
                return
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                if levels > 0:
                    waiting.append((here / entry.name, levels - 1))
            elif entry.is_file():
                yield here / entry.name
            elif entry.is_symlink() and entry.name.lower().endswith(".gguf"):
                notes.append(f"{here / entry.name} is a link to nothing; it is skipped.")


def list_folder(folder: Path, notes: list[str]) -> list[os.DirEntry[str]]:
    """What is in a folder, by name; a note where it cannot be read, nothing where it is missing."""
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        notes.append(f"{folder} cannot be read: {error.strerror or error}.")
        return []
