"""What a user asks about -> the headers of every file that it could mean, wherever they are.

A name or path on this disk is one file; a repository offers quantizations; an address is a file.
Blocking: call it from a worker thread.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from localserve.catalog.downloaded import FINDERS
from localserve.catalog.filenames import quantization_of
from localserve.catalog.header_fetch import Progress
from localserve.catalog.headers import Headers, read_headers, read_local, read_quantizations
from localserve.catalog.locate import find_model
from localserve.catalog.registry import Registry
from localserve.catalog.sources import HubModel, RemoteModel, UrlFile, parse_remote
from localserve.catalog.spec import HubFile, LocalFile, ModelSpec
from localserve.config import Settings
from localserve.errors import ModelUnusable, NotDownloaded, UnknownModel


@dataclass(frozen=True, slots=True)
class Candidates:
    """The files that could be run, by quantization, each with its headers or why it has none.

    `spec` is what models.toml says of the model. `quantization` is the one that was named; `path`
    the file, where it is on this disk.
    """

    spec: ModelSpec
    found: Mapping[str, Headers | ModelUnusable]
    quantization: str | None = None
    path: Path | None = None


def find_candidates(
    text: str, registry: Registry, settings: Settings, progress: Progress = lambda count: None
) -> Candidates:
    """All that `text` may mean: a name, a path, OWNER/REPO[:QUANTIZATION] or an address.

    A repository's name means the repository, unless the network is off or there is such a path.
    Raises: UnknownModel, ModelUnusable.
    """
    remote = None if os.path.exists(text) else parse_remote(text, settings.hub_endpoint)
    program = text.partition("/")[0].casefold()
    if remote is not None and program not in FINDERS and not settings.offline:
        return _remote(remote, settings, progress)
    try:
        spec = find_model(text, registry, settings)
    except NotDownloaded:
        entry = registry.find(text)
        if settings.offline or entry is None or not isinstance(entry.source, HubFile):
            raise
        return _repository(entry, entry.source, None, settings, progress)
    except UnknownModel:
        if remote is None:
            raise
        return _remote(remote, settings, progress)
    assert isinstance(spec.source, LocalFile)
    return _one(spec, read_local(spec.source.path), spec.source.path)


def _remote(remote: RemoteModel, settings: Settings, progress: Progress) -> Candidates:
    if isinstance(remote, UrlFile):
        spec = ModelSpec(remote.name, LocalFile(Path(remote.name)))
        return _one(spec, read_headers(remote, settings, progress=progress), None)
    return _hub(remote, settings, progress)


def _hub(model: HubModel, settings: Settings, progress: Progress) -> Candidates:
    spec = ModelSpec(model.source.repo, model.source)
    return _repository(spec, model.source, model.quantization, settings, progress)


def _repository(
    spec: ModelSpec,
    source: HubFile,
    quantization: str | None,
    settings: Settings,
    progress: Progress,
) -> Candidates:
    found = dict(read_quantizations(source, settings, progress))
    if quantization is not None:
        names = {name.upper(): name for name in found}
        if quantization.upper() not in names:
            raise ModelUnusable(
                f"The repository {source.repo} has no quantization {quantization}.",
                hint=f"It has {', '.join(sorted(found))}.",
            )
        quantization = names[quantization.upper()]
    return Candidates(spec, found, quantization)


def _one(spec: ModelSpec, headers: Headers, path: Path | None) -> Candidates:
    name = quantization_of(headers.files[0].name) or headers.facts.quantization
    return Candidates(spec, {name: headers}, name, path)
