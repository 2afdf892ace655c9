"""The commands, put together."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Annotated, Any, Final

import typer
from typer.core import TyperCommand, TyperGroup

from localserve.versions import version_of


@dataclass(frozen=True, slots=True)
class Command:
    """`target` is where a command is, a function or a group; `help` the first line of its own,
    so that to list all commands imports none."""

    target: str
    help: str


COMMANDS: Final = {
    "up": Command("localserve.cli.up:up", "Serve a model over HTTP until Ctrl-C."),
    "run": Command("localserve.cli.run:run", "Talk to a model."),
    "status": Command("localserve.cli.status:status", "Say whether a server runs, and where."),
    "ps": Command("localserve.cli.ps:ps", "Show which models the running server has loaded."),
    "load": Command("localserve.cli.load:load", "Load a model into the running server."),
    "unload": Command(
        "localserve.cli.load:unload", "Free the memory of a model of the running server."
    ),
    "logs": Command("localserve.cli.logs:logs", "Show the server's log."),
    "stop": Command("localserve.cli.stop:stop", "Stop the running server."),
    "service": Command(
        "localserve.cli.service:service", "Start localserve at login, and again after a failure."
    ),
    "connect": Command(
        "localserve.cli.connect:connect", "Connect an editor or an agent to the running server."
    ),
    "bench": Command("localserve.cli.bench:bench", "Measure a running server under load."),
    "pull": Command("localserve.cli.pull:pull", "Download a model."),
    "fit": Command(
        "localserve.cli.fit:fit", "Tell what fits this machine, how fast it will be, and why."
    ),
    "list": Command("localserve.cli.list:list_models", "List the models that are on this disk."),
    "show": Command("localserve.cli.show:show", "Show what is known of one model."),
    "rm": Command("localserve.cli.rm:rm", "Delete a model that localserve downloaded."),
    "paths": Command("localserve.cli.paths:paths", "Show where models, caches and settings lie."),
    "hardware": Command(
        "localserve.cli.hardware:hardware",
        "Show what models have here, and measure how fast it is.",
    ),
    "doctor": Command(
        "localserve.cli.doctor:doctor",
        "Find what is wrong with this installation, and how to mend it.",
    ),
    "keys": Command("localserve.cli.keys:keys", "Make, list, rotate and revoke API keys."),
    "cache": Command(
        "localserve.cli.cache:cache",
        "Look at the response cache of the running server, or purge it.",
    ),
    "completion": Command(
        "localserve.cli.completion:completion",
        "Print a script that completes command lines in a shell.",
    ),
}
"""All commands, in the order in which help lists them."""

COMPLETE_VARIABLE: Final = "_LOCALSERVE_COMPLETE"
"""Set by a shell that asks how a command line may go on."""


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
    module, _, attribute = COMMANDS[name].target.partition(":")
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

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        with self._by_their_help():
            super().format_commands(ctx, formatter)

    def shell_complete(self, ctx: Any, incomplete: str) -> Any:
        with self._by_their_help():
            return super().shell_complete(ctx, incomplete)

    @contextmanager
    def _by_their_help(self) -> Iterator[None]:
        """Commands that have a name and a line of help; nothing is imported for them."""
        real = self.commands
        self.commands = {
            name: TyperCommand(name, help=command.help) for name, command in COMMANDS.items()
        }
        try:
            yield
        finally:
            self.commands = real


app = typer.Typer(
    name="localserve",
    cls=_Group,
    help="Serve GGUF models from this machine to everything that speaks OpenAI's API.",
    no_args_is_help=True,
    # Without it a shell's questions are not answered; with it there are two more options.
    add_completion=COMPLETE_VARIABLE in os.environ,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if not wanted:
        return
    from localserve.planner.build import installed_build  # here: other commands need it not

    build = installed_build()
    typer.echo(f"localserve {version_of('localserve')}")
    if build is None:
        typer.echo("llama-cpp-python is missing; `localserve doctor` says what to do")
    else:
        backends = f", for {', '.join(build.backends)}" if build.backends else ""
        typer.echo(f"{build.text}{backends}")
    raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            help="Print the versions of localserve and llama.cpp, and what that computes on.",
            callback=_print_version,
        ),
    ] = False,
) -> None:
    """Serve GGUF models from this machine to everything that speaks OpenAI's API."""
