"""The commands, put together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from importlib.metadata import version
from typing import Annotated, Any, Final

import typer
from typer.core import TyperGroup

COMMANDS: Final = {
    "up": "localserve.cli.up:up",
    "run": "localserve.cli.run:run",
    "status": "localserve.cli.status:status",
    "ps": "localserve.cli.ps:ps",
    "load": "localserve.cli.load:load",
    "unload": "localserve.cli.load:unload",
    "logs": "localserve.cli.logs:logs",
    "stop": "localserve.cli.stop:stop",
    "connect": "localserve.cli.connect:connect",
    "bench": "localserve.cli.bench:bench",
    "pull": "localserve.cli.pull:pull",
    "fit": "localserve.cli.fit:fit",
    "list": "localserve.cli.list:list_models",
    "show": "localserve.cli.show:show",
    "rm": "localserve.cli.rm:rm",
    "paths": "localserve.cli.paths:paths",
    "hardware": "localserve.cli.hardware:hardware",
    "keys": "localserve.cli.keys:keys",
    "cache": "localserve.cli.cache:cache",
}
"""Where each command is, a function or a group, in the order in which help lists them."""


class _Commands(Mapping[str, Any]):
    """The commands by name, each imported when it is first asked for: none waits for the others'
    imports."""

    def __init__(self) -> None:
        self._imported: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._imported:
            self._imported[name] = _import_command(name)
        return self._imported[name]

    def __iter__(self) -> Iterator[str]:
        return iter(COMMANDS)

    def __len__(self) -> int:
        return len(COMMANDS)


def _import_command(name: str) -> Any:
    module, _, attribute = COMMANDS[name].partition(":")
    found = getattr(import_module(module), attribute)
    if not isinstance(found, typer.Typer):
        alone = typer.Typer(add_completion=False, rich_markup_mode=None)
        alone.command(name)(found)
        found = alone
    return typer.main.get_command(found)


class _Group(TyperGroup):
    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands = _Commands()  # type: ignore[assignment]  # nothing is added


app = typer.Typer(
    name="localserve",
    cls=_Group,
    help="Serve GGUF models from this machine to everything that speaks OpenAI's API.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


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
