"""`localserve up`: serve a model until Ctrl-C."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from localserve.catalog.registry import load_registry
from localserve.cli.download import find_or_download
from localserve.cli.screen import Screen
from localserve.config import read_settings
from localserve.server.listeners import listen
from localserve.server.reports import Note
from localserve.server.supervisor import Supervisor

EXAMPLES = """
Examples:

  localserve up                          the built-in model: offline, at once

  localserve up qwen3-8b                 a model of models.toml, by name or alias

  localserve up ~/models/some.gguf       a file

  localserve up --ctx 32768 --parallel 4 --port 9000

Ctrl-C lets running answers end, for 10 seconds at most; a second one ends at once. SIGHUP reads
models.toml again.

Exit status: 0 stopped, 1 failed, 130 (143) ended at once by a second SIGINT (SIGTERM).
"""


def up(
    model: Annotated[
        str | None, typer.Argument(metavar="[MODEL|PATH.gguf]", help="What to serve.")
    ] = None,
    config: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The models.toml to read.")
    ] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on [127.0.0.1].")] = None,
    port: Annotated[int | None, typer.Option(help="Port; 0 takes any free one [8080].")] = None,
    ctx: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Tokens of context: the pool that all requests share, and the most that one"
            " may use [the model's, else 8192].",
        ),
    ] = None,
    parallel: Annotated[
        int | None, typer.Option(metavar="N", help="Requests computed together [8].")
    ] = None,
    threads: Annotated[
        int | None, typer.Option(metavar="N", help="CPU threads [the physical cores].")
    ] = None,
    offline: Annotated[bool, typer.Option("--offline", help="Never use the network.")] = False,
) -> None:
    settings = read_settings(
        {
            "config_file": config,
            "host": host,
            "port": port,
            "context_tokens": ctx,
            "parallel": parallel,
            "threads": threads,
            "offline": offline or None,
        }
    )
    registry = load_registry(settings)
    spec = find_or_download(model, registry, settings)
    listeners = listen(settings.host, settings.port)
    screen = Screen(listeners.url, sys.stdout, sys.stderr)
    if listeners.warning:
        screen.show(Note(logging.WARNING, listeners.warning))
    status = Supervisor(settings, spec, listeners, screen.show).run()
    listeners.close()
    if not screen.close():
        os._exit(status)  # the interpreter would wait for the terminal, or fail at it
    raise typer.Exit(status)


up.__doc__ = f"Serve a model over HTTP until Ctrl-C.\n{EXAMPLES}"
