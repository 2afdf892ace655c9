"""localserve's own downloads: MODELS_DIR/OWNER/NAME/..., as on the hub, or MODELS_DIR/@HOST/...

A download that was cut is a model with a problem, so that it can be seen and removed. Blocking
disk access; any thread. Source: catalog/package.py, catalog/partial.py.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Final

from localserve.catalog.filenames import as_text, name_of_file, without_shard
from localserve.catalog.finders.folders import find_in
from localserve.catalog.finders.record import Findings, FoundModel

HOST_MARK: Final = "@"
"""Begins the folder of what came from an address; no owner on the hub is called so."""

_PARTIAL: Final = re.compile(
    r"^(?P<name>.+\.gguf)\.[0-9a-zA-Z]{1,16}(\.whole)?\.partial$", re.IGNORECASE
)


def find(models_dir: Path) -> Findings:
    """The models of the folder for downloads."""
    whole = find_in(models_dir, "localserve", depth=4, repo_of=repo_of)
    cut = _cut_downloads(models_dir)
    taken = {(model.path.parent, model.name) for model in cut}
    kept = [model for model in whole.models if (model.path.parent, model.name) not in taken]
    joined = [_with_finished_shards(model, whole) for model in cut]
    return Findings((*kept, *joined), whole.notes)


def repo_of(path: Path) -> str | None:
    """OWNER/NAME, the first two folders of a path relative to the models folder."""
    from_the_hub = len(path.parts) > 2 and not path.parts[0].startswith(HOST_MARK)
    return as_text("/".join(path.parts[:2])) if from_the_hub else None


def _cut_downloads(models_dir: Path) -> list[FoundModel]:
    partials: dict[Path, list[Path]] = {}
    for path in sorted(models_dir.glob("*/*/**/*.partial")):
        if (found := _PARTIAL.match(path.name)) and path.is_file():
            partials.setdefault(path.with_name(without_shard(found["name"])), []).append(path)
    return [
        FoundModel(
            name=name_of_file(final.name),
            source="localserve",
            files=tuple(paths),
            size_bytes=sum(path.stat().st_size for path in paths),
            used_at=max(path.stat().st_mtime for path in paths),
            repo=repo_of(final.relative_to(models_dir)),
            problem="its download is not complete",
        )
        for final, paths in partials.items()
    ]


def _with_finished_shards(cut: FoundModel, whole: Findings) -> FoundModel:
    """A cut download together with those of its shards that are complete."""
    for model in whole.models:
        if (model.path.parent, model.name) == (cut.path.parent, cut.name):
            size_bytes = cut.size_bytes + model.size_bytes
            return replace(cut, files=(*model.files, *cut.files), size_bytes=size_bytes)
    return cut
