"""`localserve list`: the models on this disk, and those that models.toml knows besides."""

from __future__ import annotations

import json
from typing import Annotated

import typer
from rich.table import Table

from localserve.catalog.downloaded import entry_of, find_downloaded
from localserve.catalog.filenames import by_preference
from localserve.catalog.finders.record import FoundModel
from localserve.catalog.registry import Registry, load_registry
from localserve.catalog.spec import HubFile, ModelSpec, RemoteEngine
from localserve.cli.found import found_document, with_builtin
from localserve.cli.options import AsJson, Config
from localserve.cli.terminal import (
    console,
    count_text,
    errors,
    path_text,
    plain,
    print_table,
    size_text,
)
from localserve.config import read_settings

EXAMPLES = """
Looks into localserve's own folder, the Hugging Face cache, LM Studio, llama.cpp's cache, Ollama and
the files that models.toml names; changes nothing there.

Examples:

  localserve list                what can be served from this disk

  localserve list --all          and what can be downloaded

  localserve list --all qwen     those with 'qwen' in a name or alias

  localserve list --json | jq -r '.models[].name'

Exit status: 0 done (also with an empty list), 1 a configuration file is wrong, 2 wrong usage.
"""


def list_models(
    text: Annotated[str, typer.Argument(metavar="TEXT", help="Part of a name or alias.")] = "",
    everything: Annotated[
        bool, typer.Option("--all", help="Also those that can be downloaded.")
    ] = False,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    settings = read_settings({"config_file": config})
    registry = load_registry(settings)
    findings = find_downloaded(registry, settings)
    everywhere = with_builtin(findings)
    models = [
        found for found in everywhere if _has(text, (found.name, *found.aliases), found, registry)
    ]
    usable = (found for found in everywhere if not found.problem)
    here = {entry.name for found in usable if (entry := entry_of(found, registry))}
    catalog = [spec for spec in registry if everything and _has_name(text, spec.names)]
    if as_json:
        document: dict[str, object] = {
            "models": [found_document(found, registry) for found in models],
            "notes": list(findings.notes),
        }
        if everything:
            document["catalog"] = [spec_document(spec, spec.name in here) for spec in catalog]
        typer.echo(json.dumps(document, indent=2))
        return
    for note in findings.notes:
        errors.print(plain(note), style="yellow")
    _print_found(models, text)
    if everything:
        console.print("\nmodels.toml", style="bold")
        print_table(_catalog_table(catalog, here))


list_models.__doc__ = f"List the models that are on this disk.\n{EXAMPLES}"


def _has(text: str, names: tuple[str, ...], found: FoundModel, registry: Registry) -> bool:
    entry = entry_of(found, registry)
    return _has_name(text, (*names, found.full_name, *(entry.names if entry else ())))


def _has_name(text: str, names: tuple[str, ...]) -> bool:
    return any(text.casefold() in name.casefold() for name in names)


def _print_found(models: list[FoundModel], text: str) -> None:
    if models:
        print_table(_found_table(models))
    else:
        console.print(plain(f"No model on this disk has {text!r} in its name."))


def _found_table(models: list[FoundModel]) -> Table:
    table = Table(box=None, pad_edge=False)
    for title in ("name", "source", "size", "quantization"):
        table.add_column(title, no_wrap=True)
    table.add_column("path", overflow="fold")
    for found in models:
        where = path_text(found.path)
        where += f"\nnot usable: {found.problem}" if found.problem else ""
        size = size_text(found.size_bytes)
        row = (found.name, found.source, size, found.quantization or "", where)
        table.add_row(*map(plain, row), style="dim" if found.problem else None)
    return table


def _catalog_table(catalog: list[ModelSpec], here: set[str]) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("name", no_wrap=True)
    table.add_column("also", overflow="fold")
    for title in ("parameters", "quantization", "size", "on disk"):
        table.add_column(title, no_wrap=True)
    for spec in catalog:
        quantization, size_bytes = _default_quantization(spec)
        table.add_row(
            plain(spec.name),
            plain(", ".join(spec.aliases)),
            count_text(spec.shape.parameters) if spec.shape else "",
            quantization,
            size_text(size_bytes) if size_bytes else "",
            "elsewhere"
            if isinstance(spec.source, RemoteEngine)
            else ("yes" if spec.name in here else ""),
        )
    return table


def spec_document(spec: ModelSpec, on_disk: bool) -> dict[str, object]:
    """An entry of models.toml as JSON."""
    return {
        "name": spec.name,
        "aliases": list(spec.aliases),
        "kind": spec.kind,
        "repo": spec.source.repo if isinstance(spec.source, HubFile) else None,
        "servers": [one.base_url for one in spec.source.replicas]
        if isinstance(spec.source, RemoteEngine)
        else [],
        "quantizations": dict(spec.quantizations),
        "parameters": spec.shape.parameters if spec.shape else None,
        "trained_context_tokens": spec.shape.trained_context_tokens if spec.shape else None,
        "verified": spec.verified,
        "on_disk": on_disk,
    }


def _default_quantization(spec: ModelSpec) -> tuple[str, int]:
    if not spec.quantizations:
        return "", 0
    name = by_preference(spec.quantizations)[0]
    return name, spec.quantizations[name]
