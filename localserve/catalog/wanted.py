"""What a user wants to have -> what to fetch, or the model on this disk that it is already.

Looks at names and at this disk, never at the network. Blocking disk access.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from localserve.catalog.downloaded import entry_of, find_downloaded
from localserve.catalog.filenames import (
    BITS_PER_WEIGHT,
    by_preference,
    files_by_quantization,
    is_projector,
    without_shard,
)
from localserve.catalog.finders.record import FoundModel
from localserve.catalog.locate import served_elsewhere, unknown_model
from localserve.catalog.package import Package
from localserve.catalog.registry import Registry
from localserve.catalog.sources import HubModel, UrlFile, parse_remote
from localserve.catalog.spec import HubFile, LocalFile, ModelSpec, RemoteEngine
from localserve.catalog.url_files import check_file_name, url_folder
from localserve.config import Settings
from localserve.errors import AmbiguousName


@dataclass(frozen=True, slots=True)
class Wanted:
    """A model to fetch. `text` is what was typed, `entry` what models.toml says of it."""

    text: str
    remote: HubModel | UrlFile
    entry: ModelSpec | None = None

    @property
    def name(self) -> str:
        """What to call it in messages."""
        return self.entry.name if self.entry is not None else self.text


def parse_wanted(text: str, registry: Registry, settings: Settings) -> Wanted | ModelSpec:
    """What `text` names: NAME or NAME:QUANTIZATION of models.toml (or the beginning of only one
    NAME), else whatever `sources.parse_remote` understands. A spec is a file of this machine.

    Raises: AmbiguousName, UnknownModel, ModelUnusable.
    """
    name, colon, quantization = text.rpartition(":")
    entry = registry.find(text)
    if entry is not None:
        return _of_entry(text, entry, None)
    known = quantization.upper() in BITS_PER_WEIGHT
    if colon and known and (entry := registry.find(name)) is not None:
        return _of_entry(text, entry, quantization)
    remote = parse_remote(text, settings.hub_endpoint)
    if isinstance(remote, UrlFile):
        check_file_name(remote)
    if remote is not None:
        return Wanted(text, remote)
    begin = [spec for spec in registry if _begins(spec, text)]
    if len(begin) > 1:
        raise AmbiguousName(text, tuple(spec.name for spec in begin))
    if not begin:
        raise unknown_model(text, registry, find_downloaded(registry, settings).models)
    return _of_entry(text, begin[0], None)


def _of_entry(text: str, entry: ModelSpec, quantization: str | None) -> Wanted | ModelSpec:
    if isinstance(entry.source, LocalFile):
        return entry
    if isinstance(entry.source, RemoteEngine):
        raise served_elsewhere(entry)
    return Wanted(text, HubModel(entry.source, quantization), entry)


def _begins(spec: ModelSpec, text: str) -> bool:
    return bool(text) and any(name.casefold().startswith(text.casefold()) for name in spec.names)


def find_here(wanted: Wanted, registry: Registry, settings: Settings) -> FoundModel | None:
    """The model on this disk that is what is wanted, whoever brought it here.

    One of localserve's own whose projector was cut is not all here.
    """
    found = find_downloaded(registry, settings).models
    models = [one for one in found if not one.problem and not _is_cut(one)]
    remote = wanted.remote
    if isinstance(remote, UrlFile):
        folder = url_folder(remote, settings)
        same = (one for one in models if one.path.parent == folder)
        names = {remote.name, without_shard(remote.name)}
        return next((one for one in same if without_shard(one.path.name) in names), None)
    fitting = [one for one in models if _is_of(one, wanted, remote.source, registry)]
    if remote.quantization is not None:
        asked = remote.quantization.upper()
        fitting = [one for one in fitting if (one.quantization or "").upper() == asked]
    order = by_preference({one.quantization or "" for one in fitting})
    return next((one for one in fitting if (one.quantization or "") == order[0]), None)


def _is_cut(model: FoundModel) -> bool:
    """Whether the projector that came along is only partly here."""
    if model.source != "localserve":
        return False
    cut = (path.name.partition(".gguf")[0] for path in model.path.parent.glob("*.partial"))
    return any(is_projector(f"{stem}.gguf") for stem in cut)


def _is_of(model: FoundModel, wanted: Wanted, source: HubFile, registry: Registry) -> bool:
    """Whether a model of this disk is of the entry, or of the repository, that is wanted."""
    if wanted.entry is not None:
        return entry_of(model, registry) is wanted.entry
    if (model.repo or "").casefold() != source.repo.casefold():
        return False
    if source.pattern is None:
        return True
    file_only = HubFile(source.repo, f"*{source.pattern.rsplit('/', 1)[-1]}")
    return bool(files_by_quantization(file_only, [model.path.name]))


def find_same(package: Package, models: Iterable[FoundModel]) -> FoundModel | None:
    """The model that has the very files of a package in another place, whatever it is called.

    Known by the SHA-256 in their names (Ollama and the hub's cache call files so), else by the
    name of the file with the size of all.
    """
    sizes = sum(file.size_bytes for file in package.files)
    checksum = package.files[0].checksum
    for model in models:
        in_its_place = model.path == package.place_of(package.files[0])
        if model.problem or in_its_place or model.size_bytes != sizes:
            continue
        same_name = model.path.name == Path(package.files[0].name).name
        if same_name or (checksum and model.path.resolve().name.endswith(checksum.digest)):
            return model
    return None
