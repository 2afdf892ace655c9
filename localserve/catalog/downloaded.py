"""All models that are on this disk, whoever brought them here, and which of them a name means.

Nothing is modified anywhere. Blocking disk access: call it from a worker thread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from localserve.catalog.filenames import files_by_quantization, shard_names
from localserve.catalog.finders import hub_cache, llama_cpp, lm_studio, ollama, own
from localserve.catalog.finders.folders import to_model
from localserve.catalog.finders.record import Findings, FoundModel, Source
from localserve.catalog.registry import BUILTIN_NAME, Registry, shipped_registry
from localserve.catalog.spec import HubFile, LocalFile, ModelSpec
from localserve.catalog.usage import last_uses
from localserve.config import Settings
from localserve.errors import AmbiguousName

FINDERS: Mapping[Source, Callable[[Path], Findings]] = {
    "localserve": own.find,
    "hub": hub_cache.find,
    "lm-studio": lm_studio.find,
    "llama.cpp": llama_cpp.find,
    "ollama": ollama.find,
}


def folders(settings: Settings) -> dict[Source, tuple[Path, ...]]:
    """Where each finder looks. A folder need not exist."""
    lm_studio_folder, ollama_folder = settings.lm_studio_models_dir, settings.ollama_models_dir
    return {
        "localserve": (settings.models_dir,),
        "hub": (settings.hub_cache_dir,),
        "lm-studio": (lm_studio_folder,) if lm_studio_folder else lm_studio.usual_folders(),
        "llama.cpp": (settings.llama_cache_dir,),
        "ollama": (ollama_folder,) if ollama_folder else ollama.usual_folders(),
    }


def find_downloaded(registry: Registry, settings: Settings) -> Findings:
    """Every model on this disk but the built-in one, the most recently used first.

    A file that is found in two places (by a link) counts where it is found first: in models.toml,
    in localserve's own folder, then elsewhere.
    """
    found = [_configured(registry)]
    for source, places in folders(settings).items():
        found += [FINDERS[source](place) for place in places]
    everything = Findings.together(found)
    uses = last_uses(settings)
    models = [
        replace(model, used_at=max(model.used_at, uses.get(str(model.path), 0.0)))
        for model in _each_once(everything.models)
    ]
    models.sort(key=lambda model: (-model.used_at, model.full_name))
    return Findings(tuple(models), tuple(dict.fromkeys(everything.notes)))


def builtin_model() -> FoundModel:
    """The model inside the package."""
    spec = shipped_registry().find(BUILTIN_NAME)
    assert spec is not None
    assert isinstance(spec.source, LocalFile)
    found = to_model([spec.source.path], "built-in", None)
    assert found is not None
    return replace(found, name=spec.name, aliases=spec.aliases)


def match_exactly(text: str, models: tuple[FoundModel, ...]) -> FoundModel | None:
    """The model of that name, whatever the case: NAME, SOURCE/NAME, FILE.gguf or the hub's
    OWNER/NAME. Of several, the one that nothing speaks against. Raises: AmbiguousName."""
    return _only(text, all_named(text, models))


def all_named(text: str, models: Iterable[FoundModel]) -> list[FoundModel]:
    """All models of that name, understood as `match_exactly` does."""
    return [model for model in models if text.casefold() in _names(model)]


def match_beginning(text: str, models: tuple[FoundModel, ...]) -> FoundModel | None:
    """The model whose name, alias or SOURCE/NAME begins so. Raises: AmbiguousName."""
    begins = text.casefold()
    names = [(model, (model.name, *model.aliases, model.full_name)) for model in models]
    return _only(
        text,
        [model for model, own in names if any(name.casefold().startswith(begins) for name in own)],
    )


def ambiguous(text: str, models: list[FoundModel]) -> AmbiguousName:
    """The error to raise where one name means several models, with names that tell them apart."""
    names = [model.name for model in models]
    unique = len({name.casefold() for name in names}) == len(names)
    told_apart = names if unique else [_place(model, models) for model in models]
    return AmbiguousName(text, tuple(told_apart))


def to_spec(found: FoundModel, registry: Registry) -> ModelSpec:
    """What to serve: the registry's entry of the model with this file, else the file alone."""
    source = LocalFile(found.path)
    entry = entry_of(found, registry)
    if entry is None:
        return ModelSpec(found.name, source, found.aliases, pooling=found.pooling)
    known = {name.casefold() for name in entry.names}
    more = tuple(name for name in (found.name, *found.aliases) if name.casefold() not in known)
    return replace(entry, source=source, aliases=(*entry.aliases, *more))


def entry_of(found: FoundModel, registry: Registry) -> ModelSpec | None:
    """The registry's entry for a model: by name, else by its file's name.

    The file must be named as the entry's pattern says. The repository must be the same only where
    a pattern is missing or would fit anything: others offer the same model under the same name.
    """
    for name in (found.name, *found.aliases):
        if (entry := registry.find(name)) is not None:
            return entry
    whole = f"{found.name}.gguf"
    for entry in registry:
        source = entry.source
        if not isinstance(source, HubFile):
            continue
        telling = source.pattern is not None and source.pattern[:1] not in ("*", "{", "?")
        if (telling or source.repo == found.repo) and files_by_quantization(source, [whole]):
            return entry
    return None


def match_entry(
    entry: ModelSpec, models: tuple[FoundModel, ...], registry: Registry
) -> FoundModel | None:
    """The most recently used of the models that are the registry's `entry` and can be served."""
    fitting = (model for model in models if not model.problem)
    return next((model for model in fitting if entry_of(model, registry) is entry), None)


def _configured(registry: Registry) -> Findings:
    """The models of models.toml whose file is given there."""
    models = []
    for spec in registry:
        if spec.name == BUILTIN_NAME or not isinstance(spec.source, LocalFile):
            continue
        names = shard_names(spec.source.path.name)
        shards = [spec.source.path.with_name(name) for name in names]
        there = [shard for shard in shards if shard.is_file()]
        found = to_model(there, "models.toml", None) if there else None
        if found is not None:
            pooling = spec.pooling or found.pooling
            models.append(replace(found, name=spec.name, aliases=spec.aliases, pooling=pooling))
    return Findings(tuple(models))


def _each_once(models: tuple[FoundModel, ...]) -> list[FoundModel]:
    seen: dict[object, FoundModel] = {}
    for model in models:
        try:
            status = model.path.stat()
        except OSError:  # it went away a moment ago
            continue
        # Some file systems number no files.
        key = (status.st_dev, status.st_ino) if status.st_ino else model.path
        seen.setdefault(key, model)
    return list(seen.values())


def _names(model: FoundModel) -> set[str]:
    names = [model.name, *model.aliases, model.full_name, model.path.name]
    names += [f"{model.source}/{alias}" for alias in model.aliases]
    if model.repo is not None:
        names.append(model.repo)
    return {name.casefold() for name in names}


def _only(text: str, models: list[FoundModel]) -> FoundModel | None:
    usable = [model for model in models if not model.problem] or models
    if len(usable) > 1:
        raise ambiguous(text, usable)
    return usable[0] if usable else None


def _place(model: FoundModel, others: list[FoundModel]) -> str:
    """SOURCE/NAME; the path where even that is not enough."""
    same = [other for other in others if other.full_name.casefold() == model.full_name.casefold()]
    return model.full_name if len(same) == 1 else str(model.path)
