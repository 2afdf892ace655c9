"""`localserve connect`: what editors and agents need to use the running server, shown or written
into their files."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer
from rich.table import Table

from localserve.cli.options import AsJson
from localserve.cli.reach import LOAD_SECONDS, Port, ask, find_server, status_of
from localserve.cli.terminal import console, errors, path_text, plain, print_table
from localserve.config import Settings, read_settings
from localserve.connect.client import Client
from localserve.connect.clients import CLIENTS, find_client
from localserve.connect.files import Change, FileNotChanged, Memory, Undone, plan_write, undo, write
from localserve.connect.places import Surroundings, this_account
from localserve.connect.served import PLACEHOLDER_KEY, Served, parse_models
from localserve.errors import KeyMissing
from localserve.server.running import RunningServer

EXAMPLES = """
Without --write nothing is changed: the entries go to stdout, all else to stderr. They have the
address of the running server, the names of its loaded models and the context that these really
have, so connect again after a change of those. With --write they are merged into the client's
file: other entries and comments stay, the old file is copied beside it, and --undo takes the
entries out again.

Examples:

  localserve connect                    all clients; which are installed

  localserve connect opencode           what opencode needs

  localserve connect opencode --write   put it into opencode's file

  localserve connect opencode --undo    and take it out again

  localserve connect zed --model qwen3-8b

  eval "$(localserve connect env)"      variables for any other program

Exit status: 0 done, 1 no server runs or a file cannot be changed, 2 wrong usage.
"""

UNDONE = {
    "restored": "{path} is as it was",
    "edited": "localserve's entries are out of {path}; what you changed since stays",
    "removed": "{path} is removed: nothing else stood in it",
    "gone": "{path} is not there any more",
}


def connect(
    client: Annotated[
        str | None,
        typer.Argument(
            metavar="CLIENT",
            help="Which program.",
            autocompletion=lambda incomplete: [
                one.name for one in CLIENTS if one.name.startswith(incomplete)
            ],
        ),
    ] = None,
    to_file: Annotated[
        bool, typer.Option("--write", help="Merge the entries into the client's file.")
    ] = False,
    take_out: Annotated[bool, typer.Option("--undo", help="Take them out of it again.")] = False,
    model: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Only this model; loaded if need be [all loaded ones]."),
    ] = None,
    api_key: Annotated[
        str | None,
        typer.Option(metavar="KEY", help="The key for the client, where the server asks for keys."),
    ] = None,
    port: Port = None,
    as_json: AsJson = False,
) -> None:
    settings, account = read_settings(), this_account()
    if to_file and take_out:
        raise typer.BadParameter("--write and --undo contradict each other.")
    if client is None:
        if to_file or take_out:
            raise typer.BadParameter("Say which client: `localserve connect` lists them.")
        return _list(settings, account, as_json)
    known = find_client(client)
    memory = _memory(settings, known)
    if take_out:
        return _undo(known, account, memory, as_json)
    server = find_server(settings, port)
    served = _ask_what_is_served(server, model, api_key)
    view = _Json() if as_json else _People()
    warnings = _warnings(known, served, server, account)
    if to_file:
        return _write(known, served, account, memory, view, warnings)
    return view.show(known, served, account, warnings)


connect.__doc__ = f"Connect an editor or an agent to the running server.\n{EXAMPLES}"


def _memory(settings: Settings, client: Client) -> Memory:
    return Memory(settings.data_dir / "connect", client)


def _ask_what_is_served(server: RunningServer, model: str | None, key: str | None) -> Served:
    """The running server as clients have to know it. Raises: LocalserveError."""
    document = ask(server, "GET", "/admin/models")
    models = parse_models(document)
    wanted = model or (None if models else document["default"])
    if wanted is not None:
        with errors.status(f"loading {wanted}"):
            path = f"/admin/models/{quote(wanted)}/load"
            loaded = ask(server, "POST", path, {}, LOAD_SECONDS)
        document = ask(server, "GET", "/admin/models")
        models = parse_models(document, loaded["id"] if model else None)
    return Served(server.url, models, _key(server, key))


def _key(server: RunningServer, given: str | None) -> str:
    """What the client has to send. Raises: KeyMissing."""
    if given is not None:
        return given
    if status_of(server, "/v1/models") not in (401, 403):
        return PLACEHOLDER_KEY
    raise KeyMissing(
        "The server asks for keys, so the client needs one.",
        hint="Make one with `localserve keys create NAME`, and give it here with --api-key KEY.",
    )


def _warnings(
    client: Client, served: Served, server: RunningServer, account: Surroundings
) -> list[str]:
    warnings = []
    owner = server.owner_key
    missing = [route for route in client.routes if status_of(server, route, owner) == 404]
    if missing:
        warnings.append(
            f"This server does not answer {' and '.join(missing)}, which {client.title} asks."
        )
    main = served.main
    if main.context_tokens < client.least_context_tokens:
        least = client.least_context_tokens
        warnings.append(
            f"{main.name} has {main.context_tokens} tokens of context, and {client.title} needs"
            f" {least} or more: `localserve load {main.name} --ctx {least}`, then connect again."
        )
    if not account.tested and client.files_for(account):
        warnings.append("Where the file lies on this system was read, not tried.")
    return warnings


def _write(
    client: Client,
    served: Served,
    account: Surroundings,
    memory: Memory,
    view: _View,
    warnings: list[str],
) -> None:
    if not client.files_for(account):
        by_hand = "variables" if client.environment else "settings of its own"
        raise FileNotChanged(
            f"{client.title} has no file to write: it wants {by_hand}.",
            hint=f"`localserve connect {client.name}` shows what to enter.",
        )
    changes = plan_write(client, served, account, memory)
    write(changes, memory)
    view.wrote(client, served, changes, warnings)


def _undo(client: Client, account: Surroundings, memory: Memory, as_json: bool) -> None:
    if not memory.files():
        raise FileNotChanged(
            f"There is nothing to undo: no entries were written for {client.title}.",
            hint=f"`localserve connect {client.name} --write` writes them.",
        )
    done = undo(client, account, memory)
    if as_json:
        files = [{"path": str(one.path), "done": one.how} for one in done]
        typer.echo(json.dumps({"client": client.name, "files": files}, indent=2))
        return
    for one in done:
        console.print(plain(_undone(one)))


def _undone(one: Undone) -> str:
    return UNDONE[one.how].format(path=path_text(one.path))


def _list(settings: Settings, account: Surroundings, as_json: bool) -> None:
    rows = [
        {
            "name": client.name,
            "title": client.title,
            "installed": client.installed(account),
            "written": bool(_memory(settings, client).files()),
            "files": [str(file.path(account)) for file in client.files_for(account)],
            "variables": list(client.environment),
            "routes": list(client.routes),
        }
        for client in CLIENTS
    ]
    if as_json:
        typer.echo(json.dumps({"clients": rows, "places_tested": account.tested}, indent=2))
        return
    print_table(_table(rows))
    errors.print("\nlocalserve connect NAME shows what it needs; --write writes it.", style="dim")


def _table(rows: Sequence[Mapping[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False)
    for title in ("name", "program", "installed", "connected", "by"):
        table.add_column(title, no_wrap=True)
    for row in rows:
        by = ", ".join(path_text(Path(file)) for file in row["files"])
        cells = (
            row["name"],
            row["title"],
            "yes" if row["installed"] else "",
            "yes" if row["written"] else "",
            by or ("variables" if row["variables"] else "its settings, by hand"),
        )
        table.add_row(*map(plain, cells), style=None if row["installed"] else "dim")
    return table


class _People:
    """Entries on stdout, all that is said about them on stderr."""

    def show(
        self, client: Client, served: Served, account: Surroundings, warnings: list[str]
    ) -> None:
        self._head(client, served)
        for file in client.files_for(account):
            path = file.path(account)
            there = "merge this into it, or use --write" if path.exists() else "a new file"
            errors.print(plain(f"\n{path_text(path)} ({there}):"), style="bold")
            typer.echo(file.snippet(served).rstrip("\n"))
        if variables := client.variables(served):
            errors.print("\nvariables:", style="bold")
            for name, value in variables.items():
                typer.echo(_assignment(name, value, account))
        self._tail(client, served, warnings)

    def wrote(
        self, client: Client, served: Served, changes: Sequence[Change], warnings: list[str]
    ) -> None:
        self._head(client, served)
        for change in changes:
            backup = change.written.backup
            old = f" (the old one is {path_text(backup)})" if backup is not None else ""
            console.print(plain(f"wrote {path_text(change.path)}{old}"))
        for name, value in client.variables(served).items():
            console.print(plain(f"set   {name}={value}"))
        self._tail(client, served, warnings)
        errors.print(plain(f"undo: localserve connect {client.name} --undo"), style="dim")

    def _head(self, client: Client, served: Served) -> None:
        names = ", ".join(f"{one.name} ({one.context_tokens} tokens)" for one in served.models)
        errors.print(plain(f"{client.title} and {served.url}: {names}"))

    def _tail(self, client: Client, served: Served, warnings: list[str]) -> None:
        if steps := client.instructions(served):
            errors.print("\nthen:", style="bold")
        for step in steps:
            errors.print(plain(f"  {step}"))
        for warning in warnings:
            errors.print(plain(warning), style="yellow")


class _Json:
    """One object on stdout."""

    def show(
        self, client: Client, served: Served, account: Surroundings, warnings: list[str]
    ) -> None:
        files = [
            {
                "path": str(path := file.path(account)),
                "exists": path.exists(),
                "snippet": file.snippet(served),
            }
            for file in client.files_for(account)
        ]
        self._print(client, served, files, warnings)

    def wrote(
        self, client: Client, served: Served, changes: Sequence[Change], warnings: list[str]
    ) -> None:
        files: list[dict[str, object]] = [
            {
                "path": str(change.path),
                "backup": str(change.written.backup) if change.written.backup else None,
            }
            for change in changes
        ]
        self._print(client, served, files, warnings)

    def _print(
        self,
        client: Client,
        served: Served,
        files: Sequence[Mapping[str, object]],
        warnings: list[str],
    ) -> None:
        document = {
            "client": client.name,
            "title": client.title,
            "url": served.url,
            "models": [
                {
                    "id": model.name,
                    "context_tokens": model.context_tokens,
                    "capabilities": list(model.capabilities),
                }
                for model in served.models
            ],
            "files": list(files),
            "variables": client.variables(served),
            "steps": client.instructions(served),
            "warnings": warnings,
        }
        typer.echo(json.dumps(document, indent=2))


_View = _People | _Json


def _assignment(name: str, value: str, account: Surroundings) -> str:
    """A line that sets a variable, for the shell of the system."""
    if account.system == "windows":
        escaped = value.replace("'", "''")
        return f"$Env:{name} = '{escaped}'"
    return f"export {name}={shlex.quote(value)}"
