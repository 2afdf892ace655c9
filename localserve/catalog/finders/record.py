"""A model that was found on this disk, as a frozen value. Any thread."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from localserve.catalog.filenames import quantization_of
from localserve.gguf.pooling import Pooling

Source = Literal["built-in", "models.toml", "localserve", "hub", "lm-studio", "llama.cpp", "ollama"]

OWNERS: Final[dict[Source, str]] = {
    "built-in": "localserve's package",
    "models.toml": "models.toml",
    "localserve": "localserve's downloads",
    "hub": "the Hugging Face cache",
    "lm-studio": "LM Studio",
    "llama.cpp": "llama.cpp's cache",
    "ollama": "Ollama",
}
"""Whose a model is, in words."""


@dataclass(frozen=True, slots=True)
class FoundModel:
    """A model and its files; of a split model all that are there, first shard first.

    `used_at` is when it was last served, else when its files were written, in seconds since the
    epoch. `repo` is the hub's OWNER/NAME, where the place of the file tells it. `architecture` is
    what the file's header says; empty where it was not read. `pooling` is how it makes vectors, if
    its header or its entry in models.toml says that it does. `problem` says why it cannot be
    served; empty where nothing speaks against it.
    """

    name: str
    source: Source
    files: tuple[Path, ...]
    size_bytes: int
    used_at: float
    aliases: tuple[str, ...] = ()
    repo: str | None = None
    architecture: str = ""
    pooling: Pooling | None = None
    problem: str = ""

    @property
    def path(self) -> Path:
        """The file to open."""
        return self.files[0]

    @property
    def full_name(self) -> str:
        """SOURCE/NAME, which tells models of one name in two places apart."""
        return f"{self.source}/{self.name}"

    @property
    def quantization(self) -> str | None:
        """The quantization, if names tell it."""
        return quantization_of(self.name) or quantization_of(self.path.name)


@dataclass(frozen=True, slots=True)
class Findings:
    """What was found; `notes` say in a line each what was left out and why."""

    models: tuple[FoundModel, ...] = ()
    notes: tuple[str, ...] = ()

    @staticmethod
    def together(findings: Iterable[Findings]) -> Findings:
        """All models and all notes, in the order given."""
        parts = list(findings)
        return Findings(
            tuple(model for part in parts for model in part.models),
            tuple(note for part in parts for note in part.notes),
        )
