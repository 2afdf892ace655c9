"""`localserve rm NAME`: delete a model that localserve downloaded."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from localserve.catalog.downloaded import find_downloaded
from localserve.catalog.finders.record import FoundModel
from localserve.catalog.registry import load_registry
from localserve.catalog.remove import check_removable, files_to_remove, model_to_remove, remove
from localserve.cli.found import with_builtin
from localserve.cli.model_names import models_here
from localserve.cli.options import Config
from localserve.cli.terminal import console, errors, plain, size_text
from localserve.config import read_settings

EXAMPLES = """
Deletes only what localserve itself has downloaded; for a model of another program it says how that
program deletes it.

Examples:

  localserve rm qwen3-8b         asks before it deletes

  localserve rm qwen3-8b --yes   does not; needed without a terminal

Exit status: 0 deleted, 1 nothing (or not all) was deleted, 2 wrong usage.
"""


def rm(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME", help="A name that `list` shows.", autocompletion=models_here
        ),
    ],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    config: Config = None,
) -> None:
    settings = read_settings({"config_file": config})
    registry = load_registry(settings)
    models = with_builtin(find_downloaded(registry, settings))
    found = model_to_remove(name, models, registry)
    check_removable(found, settings)
    for file in files_to_remove(found, settings):
        console.print(plain(str(file)))
    if not yes and not _agreed(found):
        raise typer.Exit(1)
    freed = remove(found, settings)
    console.print(plain(f"deleted {found.name}: {size_text(freed)} ({freed} bytes) are free again"))


rm.__doc__ = f"Delete a model that localserve downloaded.\n{EXAMPLES}"


def _agreed(found: FoundModel) -> bool:
    size = size_text(found.size_bytes)
    if not sys.stdin.isatty():
        errors.print("Nothing is deleted: there is no terminal to ask on. Add --yes.", style="red")
        return False
    return typer.confirm(f"Delete {found.name} ({size})?", default=False)
