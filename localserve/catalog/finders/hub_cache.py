"""The Hugging Face cache: models--OWNER--NAME/snapshots/COMMIT/FILE, links into blobs/.

The current commit (`refs/main`) comes first; of a file that several commits have, only the first
counts. Read directly: huggingface_hub's scan_cache_dir looks at every file of every repository and
takes a second to import. Blocking disk access; any thread.
Source: huggingface_hub's guide to its cache.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from localserve.catalog.finders.folders import find_in, list_folder
from localserve.catalog.finders.record import Findings, FoundModel, Source

_PREFIX: Final = "models--"
MAX_REF_BYTES: Final = 200


def find(cache: Path, source: Source = "hub") -> Findings:
    """The models of all repositories of a cache."""
    notes: list[str] = []
    models: list[FoundModel] = []
    for entry in list_folder(cache, notes):
        if entry.name.startswith(_PREFIX) and entry.is_dir():
            repo = entry.name[len(_PREFIX) :].replace("--", "/", 1)
            found = _in_repository(cache / entry.name, repo, source)
            models += found.models
            notes += found.notes
    return Findings(tuple(models), tuple(notes))


def snapshots(cache: Path, repo: str) -> list[Path]:
    """The folders of a repository's commits that are on this disk, the current one first."""
    return _snapshots(cache / f"{_PREFIX}{repo.replace('/', '--')}")


def _in_repository(folder: Path, repo: str, source: Source) -> Findings:
    models: dict[str, FoundModel] = {}
    notes: list[str] = []
    for snapshot in _snapshots(folder):
        found = find_in(snapshot, source, depth=3, repo_of=lambda path: repo)
        notes += found.notes
        for model in found.models:
            models.setdefault(model.path.relative_to(snapshot).as_posix(), model)
    return Findings(tuple(models.values()), tuple(notes))


def _snapshots(folder: Path) -> list[Path]:
    try:
        with (folder / "refs" / "main").open("rb") as stream:
            current = stream.read(MAX_REF_BYTES).decode("utf-8", "replace").strip()
    except OSError:
        current = ""
    found = [path for path in sorted((folder / "snapshots").glob("*")) if path.is_dir()]
    return sorted(found, key=lambda snapshot: snapshot.name != current)
