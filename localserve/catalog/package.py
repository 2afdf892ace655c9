"""The files that one pull brings, and where they go: a value, made before a byte is fetched.

Knows nothing of what is in the files. Looks at the disk for what is there already.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from localserve.catalog.filenames import is_projector, quantization_of, without_shard
from localserve.catalog.partial import MARGIN_BYTES, bytes_here, is_here
from localserve.catalog.remote import RemoteFile
from localserve.catalog.sources import UrlFile
from localserve.catalog.spec import HubFile
from localserve.errors import ModelUnusable

PROJECTOR_PRECISIONS = ("F16", "BF16", "Q8_0", "F32")
"""From the most to the least wanted: half precision is what projectors are made in."""


@dataclass(frozen=True, slots=True)
class Package:
    """One model's files, first shard first, and the projector (mmproj) that sees or hears for it.

    `quantization` is "" where no name tells it. Files lie in `folder` as in the repository.
    """

    source: HubFile | UrlFile
    files: tuple[RemoteFile, ...]
    folder: Path
    quantization: str = ""
    projector: RemoteFile | None = None

    @property
    def all_files(self) -> tuple[RemoteFile, ...]:
        """In the order in which they come: the projector alone is of no use."""
        return (*self.files, self.projector) if self.projector else self.files

    @property
    def size_bytes(self) -> int:
        return sum(file.size_bytes for file in self.all_files)

    @property
    def name(self) -> str:
        """What the model is called once it is here."""
        return without_shard(PurePosixPath(self.files[0].name).name)[: -len(".gguf")]

    def place_of(self, file: RemoteFile) -> Path:
        """Where a file goes."""
        return self.folder / file.name

    def bytes_here(self) -> int:
        """How much of it is on the disk already."""
        projector = (self.projector,) if self.projector else ()
        return self._bytes_of(self.files) + self._bytes_of(projector)

    def _bytes_of(self, files: Sequence[RemoteFile]) -> int:
        """Of files that must be of one version."""
        if all(is_here(self.place_of(file), file) for file in files):
            return sum(file.size_bytes for file in files)
        return sum(bytes_here(self.place_of(file), file) for file in files)


def check_disk(package: Package) -> None:
    """Raises: ModelUnusable, where what is missing does not fit on the disk."""
    missing = package.size_bytes - package.bytes_here()
    here = next(place for place in (package.folder, *package.folder.parents) if place.exists())
    free = shutil.disk_usage(here).free
    if missing and missing + MARGIN_BYTES > free:
        raise ModelUnusable(
            f"The download needs {missing / 1e9:.1f} GB in {package.folder}, and"
            f" {MARGIN_BYTES / 1e9:.1f} GB to spare; {free / 1e9:.1f} GB are free.",
            hint=f"Free {(missing + MARGIN_BYTES - free) / 1e9:.1f} GB, set LOCALSERVE_MODELS_DIR"
            " to a folder on a larger disk, or take a smaller quantization.",
        )


def choose_projector(
    model: RemoteFile, files: Sequence[RemoteFile]
) -> tuple[RemoteFile | None, str]:
    """The repository's projector for a model, and in words why that one.

    One that lies beside the model and is named like it comes first, then half precision.
    """
    found = {file.name: file for file in files if is_projector(file.name)}
    if not found:
        return None, ""
    best = best_projector(model.name, found)
    why = f"one of {len(found)} projectors" if len(found) > 1 else "the repository's projector"
    return found[best], f"{why}, for images or sound"


def best_projector(model: str, projectors: Iterable[str]) -> str:
    """The one of these file names (at least one) that goes best with the model's."""

    def rank(name: str) -> tuple[bool, int, int, str]:
        beside = PurePosixPath(name).parent == PurePosixPath(model).parent
        precision = quantization_of(name)
        order = (
            PROJECTOR_PRECISIONS.index(precision)
            if precision in PROJECTOR_PRECISIONS
            else len(PROJECTOR_PRECISIONS)
        )
        return not beside, -_shared_words(model, name), order, name

    return min(projectors, key=rank)


def _shared_words(model: str, projector: str) -> int:
    """How much of their names is the same, but for the quantization."""
    precision = (quantization_of(projector) or "").lower()
    words = set(PurePosixPath(projector).stem.lower().replace(".", "-").split("-"))
    own = set(PurePosixPath(model).stem.lower().replace(".", "-").split("-"))
    return len((words - {precision}) & own)
