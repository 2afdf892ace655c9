"""What a user typed after `up` -> the model file on this disk that it means.

Looks at names, folders and the first bytes of files; never at the network, and never into a file
(the header is read elsewhere). Blocking disk access: call it from a worker thread.
"""

from __future__ import annotations

import os
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import Final, assert_never

from localserve.catalog.downloaded import (
    entry_of,
    find_downloaded,
    match_beginning,
    match_entry,
    match_exactly,
    to_spec,
)
from localserve.catalog.filenames import (
    by_preference,
    files_by_quantization,
    is_model_file,
    is_path,
    name_of_file,
    shard_names,
    shard_of,
)
from localserve.catalog.finders.hub_cache import snapshots
from localserve.catalog.finders.record import OWNERS, FoundModel
from localserve.catalog.registry import BUILTIN_NAME, Registry
from localserve.catalog.spec import HubFile, LocalFile, ModelSpec, RemoteEngine
from localserve.config import Settings
from localserve.errors import ModelUnusable, NotDownloaded, UnknownModel

MAX_FILES_LISTED: Final = 10_000


def find_model(text: str | None, registry: Registry, settings: Settings) -> ModelSpec:
    """The model that `text` means, with a LocalFile that exists and begins as a GGUF file does, or
    a RemoteEngine.

    `text` is a name or alias of the registry, the name of a model that is on this disk (see
    `downloaded.match_exactly`) or its beginning, the path of a .gguf file (any shard of a split
    one), or a folder with one model in it; None means the built-in model. A name comes before a
    file of that name; write `./name` for the file.
    Raises: NotDownloaded, AmbiguousName, UnknownModel, ModelUnusable; the hint says what to do.
    """
    text = BUILTIN_NAME if text is None else text
    if is_path(text):
        return _at_path(text, registry)
    spec = registry.find(text)
    if spec is not None:
        return _of_entry(spec, registry, settings)
    found = find_downloaded(registry, settings).models if text else ()
    model = match_exactly(text, found)
    if model is None and text and os.path.exists(text):
        return _at_path(text, registry)
    model = model or match_beginning(text, found)
    if model is None:
        error = unknown_model(text, registry, found)
        error.hint += " The path of a .gguf file will do, too."
        raise error
    return _usable(model, registry)


def unknown_model(text: str, registry: Registry, found: tuple[FoundModel, ...]) -> UnknownModel:
    """The error to raise for a name that nothing has, with those that are most like it."""
    here = {name.casefold(): name for model in found for name in (model.name, *model.aliases)}
    near = [here[name] for name in get_close_matches(text.casefold(), here, n=3, cutoff=0.5)]
    names = tuple(dict.fromkeys((*near, *registry.nearest(text))))[:3]
    return UnknownModel(text, names, hint="`localserve list --all` has all names.")


def served_elsewhere(spec: ModelSpec) -> ModelUnusable:
    """The error to raise where files are needed and other servers have the model."""
    return ModelUnusable(
        f"The model {spec.name!r} is served by another machine: it has no files here.",
        hint="Ask for it through a running server; `[models]` in models.toml says where it is.",
    )


def downloaded_files(source: HubFile, settings: Settings) -> dict[str, Path]:
    """Which quantizations of a repository are on this disk, whole; each by its first file.

    Looks into the models folder, then into the hub's own cache.
    """
    found: dict[str, Path] = {}
    for folder in _folders_of(source, settings):
        names = [name.relative_to(folder).as_posix() for name in _gguf_files(folder)]
        present = set(names)
        for quantization, shards in files_by_quantization(source, names).items():
            if present.issuperset(shards):
                found.setdefault(quantization, folder / shards[0])
    return found


def repository_folder(source: HubFile, settings: Settings) -> Path:
    """Where downloaded files of a repository lie."""
    return settings.models_dir.joinpath(*source.repo.split("/"))


def check_file(path: Path) -> Path:
    """The file to open (of a split model the first shard), after a look at all its files.

    Raises: ModelUnusable, where a file is missing, empty or not GGUF.
    """
    shards = [path.with_name(name) for name in shard_names(path.name)]
    missing = [shard.name for shard in shards if not os.path.isfile(shard)]
    split = shard_of(path.name)
    if split is not None and split[1] > 1 and missing:
        listed = ", ".join(missing[:5]) + (" and more" if len(missing) > 5 else "")
        raise ModelUnusable(
            f"The model {path} is split into {split[1]} files; missing: {listed}.",
            hint=f"Put all of them into {path.parent}.",
        )
    if missing:
        raise ModelUnusable(
            f"There is no file {path}.",
            hint="Give the path of a .gguf file, or a name that models.toml has.",
        )
    for shard in shards:
        _check_magic(shard)
    return shards[0]


def _of_entry(spec: ModelSpec, registry: Registry, settings: Settings) -> ModelSpec:
    """An entry of the registry: localserve's and the hub's copy come before those of others."""
    source = spec.source
    if isinstance(source, HubFile) and not downloaded_files(source, settings):
        model = match_entry(spec, find_downloaded(registry, settings).models, registry)
        if model is not None:
            return _usable(model, registry)
    return _on_disk(spec, settings)


def _usable(model: FoundModel, registry: Registry) -> ModelSpec:
    if model.problem:
        entry = entry_of(model, registry)
        hint = f"It belongs to {OWNERS[model.source]}; get it again there."
        if model.source == "localserve":
            what = entry.name if entry is not None else model.repo or "ADDRESS"
            if model.quantization is not None and what != "ADDRESS":
                what += f":{model.quantization}"
            goes_on = f"`localserve pull {what}` goes on with it"
            hint = f"{goes_on}, `localserve rm {model.name}` deletes it."
        raise ModelUnusable(f"{model.full_name} cannot be served: {model.problem}.", hint=hint)
    check_file(model.path)
    return to_spec(model, registry)


def _on_disk(spec: ModelSpec, settings: Settings) -> ModelSpec:
    match spec.source:
        case LocalFile(path):
            return replace(spec, source=LocalFile(check_file(path)))
        case HubFile() as source:
            found = downloaded_files(source, settings)
            if not found:
                raise _not_downloaded(spec, source, settings)
            best = by_preference(found)[0]
            return replace(spec, source=LocalFile(check_file(found[best])))
        case RemoteEngine():
            return spec
        case other:
            assert_never(other)


def _not_downloaded(spec: ModelSpec, source: HubFile, settings: Settings) -> NotDownloaded:
    size = ""
    if spec.quantizations:
        best = by_preference(spec.quantizations)[0]
        about = "" if spec.verified else "about "
        size = f" ({best}: {about}{spec.quantizations[best] / 1e9:.1f} GB)"
    what = f"The model {spec.name!r} is not on this disk{size}."
    folder = repository_folder(source, settings)
    by_hand = f"put a .gguf file of {settings.hub_endpoint}/{source.repo} into {folder}"
    if settings.offline:
        return NotDownloaded(what, hint=f"Leave --offline away to download it, or {by_hand}.")
    return NotDownloaded(what, hint=f"`localserve pull {spec.name}` downloads it; or {by_hand}.")


def _at_path(text: str, registry: Registry) -> ModelSpec:
    """The model of a file, with the settings of the registry's entry for that file, if any."""
    path = Path(os.path.expanduser(text)).absolute()
    first = check_file(_only_model_in(path) if os.path.isdir(path) else path)
    for spec in registry:
        if isinstance(spec.source, LocalFile):
            known = spec.source.path.with_name(shard_names(spec.source.path.name)[0])
            if os.path.exists(known) and known.samefile(first):
                return replace(spec, source=LocalFile(first))
    return ModelSpec(name_of_file(first.name), LocalFile(first))


def _only_model_in(folder: Path) -> Path:
    try:
        names = sorted(name for name in os.listdir(folder) if is_model_file(name))
    except OSError as error:
        raise ModelUnusable(f"{folder} cannot be read: {error.strerror or error}.") from error
    models = sorted({shard_names(name)[0] for name in names})
    if len(models) == 1:
        return folder / models[0]
    if not models:
        raise ModelUnusable(
            f"The folder {folder} has no .gguf file.", hint="Give the path of the file itself."
        )
    listed = ", ".join(models[:8]) + (f" and {len(models) - 8} more" if len(models) > 8 else "")
    raise ModelUnusable(
        f"The folder {folder} has {len(models)} models: {listed}.", hint="Say which file."
    )


def _folders_of(source: HubFile, settings: Settings) -> list[Path]:
    """Folders that mirror a repository: the models folder, then the cache's snapshots."""
    cached = snapshots(settings.hub_cache_dir, source.repo)
    return [folder for folder in (repository_folder(source, settings), *cached) if folder.is_dir()]


def _gguf_files(folder: Path) -> list[Path]:
    files = [path for path in folder.rglob("*.gguf") if path.is_file()]
    if len(files) > MAX_FILES_LISTED:
        raise ModelUnusable(f"The folder {folder} has {len(files)} .gguf files; that is too many.")
    return files


def _check_magic(path: Path) -> None:
    try:
        with path.open("rb") as stream:
            start = stream.read(32)
    except OSError as error:
        raise ModelUnusable(f"{path} cannot be read: {error.strerror or error}.") from error
    if start[:4] == b"GGUF":
        return
    if not start:
        raise ModelUnusable(f"{path} is empty.", hint="Download it again.")
    if start.startswith(b"version https://git-lfs"):
        raise ModelUnusable(
            f"{path} is a pointer of git-lfs, not the model.", hint="Run `git lfs pull` there."
        )
    raise ModelUnusable(
        f"{path} is not a GGUF file: it begins with {start[:4]!r}, not b'GGUF'.",
        hint="Models in other formats must be converted to GGUF first.",
    )
