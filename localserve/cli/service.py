"""`localserve service`: the server as a service of the user's own."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.main import get_command

from localserve.cli.options import AsJson
from localserve.cli.terminal import console, errors, plain
from localserve.config import Settings, read_settings
from localserve.errors import LocalserveError
from localserve.server.listeners import listen, parse_ports
from localserve.service.manager import Manager, service_manager
from localserve.service.program import Program, program
from localserve.service.steps import Step, carry_out, told

SERVICE_HELP = """Start localserve at login, and again after a failure.

A unit of systemd's user manager on Linux, an agent of launchd on macOS, a task
of the Task Scheduler on Windows. No other user's rights are needed. What is for
macOS and Windows was written by their manuals and is untested.
"""

INSTALL_EXAMPLES = """
Behind -- stand the model and the options of `localserve up`; files among them
are written down with their whole path. The settings' variables that are set now
(LOCALSERVE_...) go with it, but no secrets. To install it again changes it.

The service starts at once. It is started again when it fails, five times within
five minutes at most; what was stopped (`localserve stop`) stays so until the
next login.

Examples:

  localserve service install

  localserve service install -- qwen3-8b --port 9000 --also 11434

  localserve service install --dry-run      what it would write and run

Exit status: 0 installed, 1 not installed, 2 wrong usage.
"""

UNINSTALL_EXAMPLES = """
Running answers end first. Models, keys and settings stay.

Examples:

  localserve service uninstall

Exit status: 0 it is gone (also if it never was there), 1 failed, 2 wrong usage.
"""

STATUS_EXAMPLES = """
Examples:

  localserve service status

  localserve service status --json | jq .running

Exit status: 0 it runs, 1 it does not, 2 wrong usage.
"""

START_EXAMPLES = """
Exit status: 0 started, 1 failed, 2 wrong usage.
"""

STOP_EXAMPLES = """
Running answers end first. At the next login it starts again.

Exit status: 0 stopped, 1 failed, 2 wrong usage.
"""

DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Print what would be written and run; do nothing.")
]

service = typer.Typer(
    name="service",
    help=SERVICE_HELP,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)


def install(
    options: Annotated[
        list[str] | None,
        typer.Argument(metavar="UP_OPTIONS", help="What `localserve up` takes, behind --."),
    ] = None,
    dry_run: DryRun = False,
) -> None:
    words, given = _checked(options or [])
    settings = read_settings(given)
    manager = service_manager(settings)
    wanted = program(words, settings, os.environ)
    if not dry_run:
        manager.check()
        _check_ports(manager, settings)
    _do(manager, manager.install(wanted), dry_run=dry_run)
    if not dry_run:
        _say(manager, f"installed and started ({manager.path})", wanted)


install.__doc__ = f"Install the service and start it.\n{INSTALL_EXAMPLES}"


def uninstall(dry_run: DryRun = False) -> None:
    manager = service_manager(read_settings())
    if not dry_run and not manager.path.exists():
        console.print(plain(f"No service of localserve is installed ({manager.path})."))
        return
    if not dry_run:
        manager.check()
    _do(manager, manager.uninstall(), dry_run=dry_run)
    if not dry_run:
        _say(manager, f"stopped and removed ({manager.path})")


uninstall.__doc__ = f"Stop the service and remove it.\n{UNINSTALL_EXAMPLES}"


def status(
    as_json: AsJson = False,
) -> None:
    manager = service_manager(read_settings())
    state = manager.state()
    if as_json:
        typer.echo(json.dumps(dataclasses.asdict(state) | {"path": str(state.path)}, indent=2))
    elif not state.installed:
        console.print("The service is not installed. `localserve service install` does it.")
    else:
        process = f", process {state.pid}" if state.pid else ""
        console.print(plain(f"{state.detail}{process}"), style="green" if state.running else "red")
        login = "starts at login" if state.starts_at_login else "does not start at login"
        console.print(plain(f"  {state.manager}  {login}"))
        console.print(plain(f"  {state.path}"))
    if not state.running:
        raise typer.Exit(1)


status.__doc__ = f"Say whether the service is installed and runs.\n{STATUS_EXAMPLES}"


def start() -> None:
    manager = _installed()
    _do(manager, manager.start())
    _say(manager, "started")


start.__doc__ = f"Start the installed service.\n{START_EXAMPLES}"


def stop() -> None:
    manager = _installed()
    _do(manager, manager.stop())
    _say(manager, "stopped")


stop.__doc__ = f"Stop the installed service until the next login.\n{STOP_EXAMPLES}"


for command in (install, uninstall, status, start, stop):
    service.command(command.__name__)(command)


def _installed() -> Manager:
    manager = service_manager(read_settings())
    if not manager.path.exists():
        raise LocalserveError(
            f"No service of localserve is installed ({manager.path} is not there).",
            hint="`localserve service install` does it.",
        )
    manager.check()
    return manager


def _check_ports(manager: Manager, settings: Settings) -> None:
    """A service that finds its port taken would fail where nobody looks. Raises: ConfigInvalid."""
    if not manager.state().running:  # else it has them itself
        also = parse_ports(settings.also_ports)
        listen(settings.host, settings.port, also=also).close()


def _do(manager: Manager, steps: Iterable[Step], *, dry_run: bool = False) -> None:
    if not manager.tested:
        errors.print(
            plain(f"localserve's use of {manager.name} is untested; please say how it went")
        )
    if dry_run:
        for line in told(steps):
            console.print(plain(line))
        return
    carry_out(steps)


def _say(manager: Manager, done: str, wanted: Program | None = None) -> None:
    console.print(plain(f"The service was {done}."))
    for hint in manager.hints(wanted) if wanted is not None else ():
        console.print(plain(hint))


def _checked(options: Sequence[str]) -> tuple[list[str], dict[str, Any]]:
    """The words for `up`, with whole paths, and the settings among them that matter here.

    Exits with status 2 where `up` would: better now than in a log at the next login.
    """
    from localserve.cli.up import up  # here: it imports much

    alone = typer.Typer(add_completion=False, rich_markup_mode=None)
    alone.command("up")(up)
    given = get_command(alone).make_context("localserve up", list(options)).params
    paths = {str(value) for value in given.values() if isinstance(value, Path)}
    if given["model"] and os.path.exists(given["model"]):
        paths.add(given["model"])
    return [_whole(word, paths) for word in options], {
        "config_file": given["config"],
        "host": given["host"],
        "port": given["port"],
        "also_ports": ",".join(map(str, given["also"])) if given["also"] else None,
    }


def _whole(word: str, paths: set[str]) -> str:
    option, equals, value = word.partition("=")
    if word in paths:
        return os.path.abspath(os.path.expanduser(word))
    if equals and option.startswith("--") and value in paths:
        return f"{option}={os.path.abspath(os.path.expanduser(value))}"
    return word
