"""The commands, put together."""

from __future__ import annotations

from importlib.metadata import version
from typing import Annotated

import typer

from localserve.cli.cache import cache
from localserve.cli.connect import connect
from localserve.cli.fit import fit
from localserve.cli.hardware import hardware
from localserve.cli.keys import keys
from localserve.cli.list import list_models
from localserve.cli.load import load, unload
from localserve.cli.logs import logs
from localserve.cli.paths import paths
from localserve.cli.ps import ps
from localserve.cli.pull import pull
from localserve.cli.rm import rm
from localserve.cli.run import run
from localserve.cli.show import show
from localserve.cli.status import status
from localserve.cli.stop import stop
from localserve.cli.up import up

app = typer.Typer(
    name="localserve",
    help="Serve GGUF models from this machine to everything that speaks OpenAI's API.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(up)
app.command()(run)
app.command()(status)
app.command()(ps)
app.command()(load)
app.command()(unload)
app.command()(logs)
app.command()(stop)
app.command()(connect)
app.command()(pull)
app.command()(fit)
app.command("list")(list_models)
app.command()(show)
app.command()(rm)
app.command()(paths)
app.command()(hardware)
app.add_typer(keys)
app.add_typer(cache)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"localserve {version('localserve')}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option("--version", help="Print the version.", callback=_print_version),
    ] = False,
) -> None:
    """Serve GGUF models from this machine to everything that speaks OpenAI's API."""
