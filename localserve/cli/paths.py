"""`localserve paths`: where everything lies, and who said so."""

from __future__ import annotations

import json
from pathlib import Path

import typer
from rich.table import Table

from localserve.catalog.downloaded import folders
from localserve.catalog.finders.record import Source
from localserve.cli.options import AsJson, Config
from localserve.cli.terminal import path_text, plain, print_table
from localserve.config import Settings, read_settings

EXAMPLES = """
Examples:

  localserve paths

  localserve paths --json | jq -r '.[] | .what + " " + .path'

Exit status: 0 done, 1 a configuration file is wrong, 2 wrong usage.
"""

OWN = {
    "config_dir": "models.toml",
    "config_file": "the models.toml that is read",
    "data_dir": "what must be kept",
    "models_dir": "downloaded models",
    "cache_dir": "what can be made again",
    "prefixes_dir": "computed prefixes on disk",
}

FOREIGN: dict[str, tuple[Source, str]] = {
    "hub_cache_dir": ("hub", "the Hugging Face cache"),
    "lm_studio_models_dir": ("lm-studio", "LM Studio's models"),
    "llama_cache_dir": ("llama.cpp", "llama.cpp's cache"),
    "ollama_models_dir": ("ollama", "Ollama's models"),
}
"""Folders of other programs, which are only read."""


def paths(
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    settings = read_settings({"config_file": config})
    rows = _rows(settings)
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
        return
    table = Table(box=None, pad_edge=False)
    table.add_column("what", no_wrap=True)
    table.add_column("path", overflow="fold")
    table.add_column("there", no_wrap=True)
    table.add_column("said by", no_wrap=True)
    for row in rows:
        there = "yes" if row["exists"] else ""
        path = path_text(Path(str(row["path"]))) if row["path"] else "none"
        table.add_row(*(plain(str(cell)) for cell in (row["holds"], path, there, row["said_by"])))
    print_table(table)


paths.__doc__ = f"Show where models, caches and settings lie.\n{EXAMPLES}"


def _rows(settings: Settings) -> list[dict[str, object]]:
    places = folders(settings)
    rows = [_row(name, holds, getattr(settings, name), settings) for name, holds in OWN.items()]
    for name, (source, holds) in FOREIGN.items():
        rows += [_row(name, holds, folder, settings) for folder in places[source]]
    return rows


def _row(name: str, holds: str, path: Path | None, settings: Settings) -> dict[str, object]:
    said_by = settings.sources[name]
    if said_by == "default" and settings.home is not None and name in OWN and path is not None:
        said_by = settings.sources["home"] if path.is_relative_to(settings.home) else said_by
    return {
        "what": name,
        "holds": holds,
        "path": str(path) if path is not None else None,
        "exists": path is not None and path.exists(),
        "said_by": said_by,
    }
