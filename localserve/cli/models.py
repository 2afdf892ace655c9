"""`localserve models`: what models.toml knows, and which of it is on this disk."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from localserve.catalog.filenames import by_preference
from localserve.catalog.locate import downloaded_files
from localserve.catalog.registry import load_registry
from localserve.catalog.spec import HubFile, LocalFile, ModelSpec
from localserve.cli.terminal import console, count_text, size_text
from localserve.config import Settings, read_settings

EXAMPLES = """
Examples:

  localserve models                 all names that `localserve up` takes

  localserve models qwen            those with 'qwen' in a name or alias

  localserve models --json | jq -r '.[] | select(.on_disk) | .name'
"""


def models(
    text: Annotated[str, typer.Argument(metavar="[TEXT]", help="Part of a name or alias.")] = "",
    config: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The models.toml to read.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    settings = read_settings({"config_file": config})
    found = [
        spec
        for spec in load_registry(settings)
        if any(text.casefold() in name.casefold() for name in spec.names)
    ]
    if as_json:
        typer.echo(json.dumps([_document(spec, settings) for spec in found], indent=2))
        return
    table = Table(box=None, pad_edge=False)
    table.add_column("name", no_wrap=True)
    table.add_column("also", overflow="fold")
    for title in ("parameters", "quantization", "size", "on disk"):
        table.add_column(title, no_wrap=True)
    for spec in found:
        quantization, size_bytes = _default_quantization(spec)
        table.add_row(
            spec.name,
            ", ".join(spec.aliases),
            count_text(spec.shape.parameters) if spec.shape else "",
            quantization,
            size_text(size_bytes) if size_bytes else "",
            "yes" if _on_disk(spec, settings) else "",
        )
    console.print(table)


models.__doc__ = f"List the models that `localserve up` knows by name.\n{EXAMPLES}"


def _document(spec: ModelSpec, settings: Settings) -> dict[str, object]:
    return {
        "name": spec.name,
        "aliases": list(spec.aliases),
        "kind": spec.kind,
        "repo": spec.source.repo if isinstance(spec.source, HubFile) else None,
        "quantizations": dict(spec.quantizations),
        "parameters": spec.shape.parameters if spec.shape else None,
        "trained_context_tokens": spec.shape.trained_context_tokens if spec.shape else None,
        "verified": spec.verified,
        "on_disk": _on_disk(spec, settings),
    }


def _default_quantization(spec: ModelSpec) -> tuple[str, int]:
    if not spec.quantizations:
        return "", 0
    name = by_preference(spec.quantizations)[0]
    return name, spec.quantizations[name]


def _on_disk(spec: ModelSpec, settings: Settings) -> bool:
    if isinstance(spec.source, LocalFile):
        return spec.source.path.exists()
    return bool(downloaded_files(spec.source, settings))
