"""models.toml -> Registry: every model that can be asked for by name, as one frozen snapshot.

The package ships a catalog; the user's file adds to it and changes it. Reading again makes a new
snapshot and leaves the old one as it was. Knows nothing of which files are downloaded. Any thread.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from functools import cache
from pathlib import Path

from localserve.catalog.entry import read_entry
from localserve.catalog.filenames import is_path
from localserve.catalog.spec import LocalFile, ModelSpec
from localserve.config import Settings
from localserve.toml import TomlFile, read_toml

SHIPPED_FILE = Path(__file__).with_name("models.toml")
BUILTIN_NAME = "localserve-tiny"


@dataclass(frozen=True, slots=True)
class Registry:
    """The models by name and alias, whatever the case of the letters."""

    specs: tuple[ModelSpec, ...] = ()
    _by_name: Mapping[str, ModelSpec] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        by_name = {name.casefold(): spec for spec in self.specs for name in spec.names}
        object.__setattr__(self, "_by_name", by_name)

    def __iter__(self) -> Iterator[ModelSpec]:
        return iter(self.specs)

    def __len__(self) -> int:
        return len(self.specs)

    def find(self, name: str) -> ModelSpec | None:
        """The model of that name or alias."""
        return self._by_name.get(name.casefold())

    def nearest(self, name: str, count: int = 3) -> tuple[str, ...]:
        """The names of at most `count` models that are written most like `name`, nearest first."""
        written = get_close_matches(name.casefold(), self._by_name, n=4 * count, cutoff=0.5)
        models = dict.fromkeys(self._by_name[near].name for near in written)
        return tuple(models)[:count]

    def merged(self, user: Registry) -> Registry:
        """This registry with another laid over it, whose names and aliases win."""
        taken = user._by_name
        kept = [
            replace(spec, aliases=tuple(a for a in spec.aliases if a.casefold() not in taken))
            for spec in self.specs
            if spec.name.casefold() not in taken
        ]
        return Registry((*user.specs, *kept))


def load_registry(settings: Settings) -> Registry:
    """The shipped catalog, overlaid by the user's configuration file if there is one.

    Reads the file each time. Raises: ConfigInvalid; a registry read earlier stays usable.
    """
    shipped = shipped_registry()
    if settings.config_file is None:
        return shipped
    return shipped.merged(read_registry(settings.config_file, base=shipped))


@cache
def shipped_registry() -> Registry:
    """The catalog inside the package; first in it is the built-in model."""
    return read_registry(SHIPPED_FILE, files_must_exist=False)


def read_registry(
    path: Path, *, base: Registry | None = None, files_must_exist: bool = True
) -> Registry:
    """Read the `[models]` tables of one file.

    An entry without `file` and `repo` changes the entry of that name or alias in `base`; it keeps
    that entry's name. Raises: ConfigInvalid, which names the file and the line.
    """
    document = read_toml(path)
    specs = []
    for key, table in document.table("models").items():
        if not isinstance(table, dict):
            problem = f"{key!r} must be a table: write [models.{key}]."
            raise document.error(("models", key), problem)
        specs.append(read_entry(document, key, table, base.find(key) if base else None))
        if files_must_exist:
            _check_file(document, key, specs[-1])
    _check_names(document, list(document.table("models")), specs)
    _check_drafts(document, list(document.table("models")), specs, base or Registry())
    return Registry(tuple(specs))


def _check_file(document: TomlFile, key: str, spec: ModelSpec) -> None:
    given_here = ("models", key, "file") in document.lines
    if given_here and isinstance(spec.source, LocalFile) and not spec.source.path.is_file():
        problem = f"the file {spec.source.path} of the model {spec.name!r} does not exist."
        raise document.error(("models", key, "file"), problem)


def _check_drafts(
    document: TomlFile, keys: list[str], specs: list[ModelSpec], base: Registry
) -> None:
    """Raises: ConfigInvalid, where a draft is named that no entry has, or that is the model."""
    known = base.merged(Registry(tuple(specs)))
    for key, spec in zip(keys, specs, strict=True):
        if spec.draft is None or is_path(spec.draft):
            continue
        found = known.find(spec.draft)
        where = ("models", key, "draft")
        if found is None:
            near = known.nearest(spec.draft, 1)
            hint = f"Did you mean {near[0]!r}? " if near else ""
            hint += "It is the name of another entry, or the path of a .gguf file."
            raise document.error(where, f"no model is called {spec.draft!r}.", hint=hint)
        if found.name == spec.name:
            raise document.error(where, f"the model {spec.name!r} cannot be its own draft.")


def _check_names(document: TomlFile, keys: list[str], specs: list[ModelSpec]) -> None:
    """Raises: ConfigInvalid, where two entries of one file share a name or alias."""
    seen: dict[str, str] = {}
    for key, spec in zip(keys, specs, strict=True):
        own = {name.casefold(): name for name in spec.names}
        for folded, name in own.items():
            if folded not in seen:
                continue
            where = ("models", key) if name == spec.name else ("models", key, "aliases")
            other = document.line("models", seen[folded])
            problem = f"the name {name!r} is taken by the model of line {other}."
            raise document.error(where, problem, hint="Names and aliases ignore case.")
        if len(own) < len(spec.names):
            where = ("models", key, "aliases")
            raise document.error(where, f"the model {spec.name!r} has an alias twice.")
        seen |= dict.fromkeys(own, key)
