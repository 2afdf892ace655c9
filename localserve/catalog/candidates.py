"""What a user asks about -> the headers of every file that it could mean, wherever they are.

A name or path on this disk is one file; a repository offers quantizations; an address is a file.
Blocking: call it from a worker thread.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from localserve.catalog.downloaded import FINDERS
from localserve.catalog.filenames import is_projector, quantization_of
from localserve.catalog.header_fetch import Progress
from localserve.catalog.headers import Headers, Repository, read_headers, read_local
from localserve.catalog.locate import downloaded_files, find_model, served_elsewhere
from localserve.catalog.package import best_projector
from localserve.catalog.registry import Registry
from localserve.catalog.sources import RemoteModel, UrlFile, parse_remote
from localserve.catalog.spec import HubFile, LocalFile, ModelSpec, RemoteEngine
from localserve.config import Settings
from localserve.errors import ModelUnusable, NotDownloaded, UnknownModel
from localserve.gguf.facts import GgufFacts


@dataclass(frozen=True, slots=True)
class Projector:
    """The file (mmproj) that sees or hears for the model. `facts` are read where it counts."""

    name: str
    size_bytes: int
    facts: GgufFacts | None = None


@dataclass(frozen=True, slots=True)
class Candidates:
    """The files that could be run, by quantization, each with its headers or why it has none.

    `spec` is what models.toml says of the model. `quantization` is the one that was named; `path`
    the file, where it is on this disk. `projector` comes with the model. `elsewhere` has the bytes
    of quantizations that the catalog knows besides those that are on this disk.
    """

    spec: ModelSpec
    found: Mapping[str, Headers | ModelUnusable]
    quantization: str | None = None
    path: Path | None = None
    projector: Projector | None = None
    elsewhere: Mapping[str, int] = field(default_factory=dict)


def find_candidates(
    text: str,
    registry: Registry,
    settings: Settings,
    progress: Progress = lambda count: None,
    *,
    projector: bool = False,
) -> Candidates:
    """All that `text` may mean: a name, a path, OWNER/REPO[:QUANTIZATION] or an address.

    A repository's name means the repository, unless the network is off or there is such a path.
    The facts of the model's projector are read if its entry names one, or with `projector`.
    Raises: UnknownModel, ModelUnusable.
    """
    reader = _Reader(settings, progress, projector)
    remote = None if os.path.exists(text) else parse_remote(text, settings.hub_endpoint)
    program = text.partition("/")[0].casefold()
    if remote is not None and program not in FINDERS and not settings.offline:
        return reader.remote(remote)
    try:
        spec = find_model(text, registry, settings)
    except NotDownloaded:
        entry = registry.find(text)
        if settings.offline or entry is None or not isinstance(entry.source, HubFile):
            raise
        return reader.repository(entry, entry.source, None)
    except UnknownModel:
        if remote is None:
            raise
        return reader.remote(remote)
    if isinstance(spec.source, RemoteEngine):
        raise served_elsewhere(spec)
    assert isinstance(spec.source, LocalFile)
    found = reader.file(spec, spec.source.path)
    entry = registry.find(text)
    return found if entry is None else _with_others(found, entry, settings)


def _with_others(found: Candidates, entry: ModelSpec, settings: Settings) -> Candidates:
    """With the entry's other quantizations: those that are here too, and the catalog's numbers."""
    all_here = dict(found.found)
    if isinstance(entry.source, HubFile):
        for name, path in downloaded_files(entry.source, settings).items():
            if path != found.path:
                all_here.setdefault(name, _read_or_why_not(path))
    known = {name.upper() for name in all_here}
    elsewhere = {
        name: size for name, size in entry.quantizations.items() if name.upper() not in known
    }
    return replace(found, found=all_here, elsewhere=elsewhere)


def _read_or_why_not(path: Path) -> Headers | ModelUnusable:
    try:
        return read_local(path)
    except ModelUnusable as problem:
        return problem


def projector_beside(model: Path) -> Path | None:
    """The projector in the folder of a model on this disk that goes best with it."""
    try:
        names = [name for name in os.listdir(model.parent) if is_projector(name)]
    except OSError:
        return None
    return model.parent / best_projector(model.name, names) if names else None


@dataclass(frozen=True, slots=True)
class _Reader:
    """Reads headers from wherever they are; `counted` says whether a projector's facts are."""

    settings: Settings
    progress: Progress
    counted: bool

    def remote(self, remote: RemoteModel) -> Candidates:
        if isinstance(remote, UrlFile):
            spec = ModelSpec(remote.name, LocalFile(Path(remote.name)))
            headers = read_headers(remote, self.settings, progress=self.progress)
            return _one(spec, headers, None, None)
        spec = ModelSpec(remote.source.repo, remote.source)
        return self.repository(spec, remote.source, remote.quantization)

    def repository(self, spec: ModelSpec, source: HubFile, quantization: str | None) -> Candidates:
        with Repository(source, self.settings, self.progress) as hub:
            found = dict(hub.read_all())
            projector = self._projector_of(hub, spec)
        if quantization is not None:
            names = {name.upper(): name for name in found}
            if quantization.upper() not in names:
                raise ModelUnusable(
                    f"The repository {source.repo} has no quantization {quantization}.",
                    hint=f"It has {', '.join(sorted(found))}.",
                )
            quantization = names[quantization.upper()]
        return Candidates(spec, found, quantization, projector=projector)

    def file(self, spec: ModelSpec, path: Path) -> Candidates:
        beside = spec.projector or projector_beside(path)
        projector = self._projector_at(beside, spec) if beside is not None else None
        return _one(spec, read_local(path), path, projector)

    def _projector_of(self, hub: Repository, spec: ModelSpec) -> Projector | None:
        if spec.projector is not None:
            return self._projector_at(spec.projector, spec)
        file = hub.projector()
        if file is None:
            return None
        facts = hub.read([file]).facts if self.counted else None
        return Projector(file.name, file.size_bytes, facts)

    def _projector_at(self, path: Path, spec: ModelSpec) -> Projector:
        counted = self.counted or spec.projector is not None
        facts = read_local(path).facts if counted else None
        return Projector(path.name, path.stat().st_size, facts)


def _one(
    spec: ModelSpec, headers: Headers, path: Path | None, projector: Projector | None
) -> Candidates:
    name = quantization_of(headers.files[0].name) or headers.facts.quantization
    return Candidates(spec, {name: headers}, name, path, projector)
