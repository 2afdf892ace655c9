"""Options that several commands take, in the same words."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from localserve.config import CACHE_TYPES

_STORED = f"How %s are stored: {', '.join(CACHE_TYPES)} [f16]."

Config = Annotated[Path | None, typer.Option(metavar="FILE", help="The models.toml to read.")]
ContextAsUp = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        help="Tokens of context, as for `up` [the model's, else 8192, to 32768 where cheap].",
    ),
]
Parallel = Annotated[int | None, typer.Option(metavar="N", help="Requests computed together [8].")]
CacheTypeK = Annotated[str | None, typer.Option(metavar="T", help=_STORED % "keys")]
CacheTypeV = Annotated[str | None, typer.Option(metavar="T", help=_STORED % "values")]
GpuLayers = Annotated[
    int | None, typer.Option(metavar="N", help="Layers on the GPUs [all that fit].")
]
CpuMoeLayers = Annotated[
    int | None, typer.Option(metavar="N", help="Layers whose experts stay in RAM [as few as fit].")
]
Offline = Annotated[bool, typer.Option("--offline", help="Never use the network.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
