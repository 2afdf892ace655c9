"""`localserve status`: whether a server runs, where, since when, with which models."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import typer

from localserve.cli.options import AsJson
from localserve.cli.reach import NoServer, Port, ask
from localserve.cli.terminal import console, plain
from localserve.config import Settings, read_settings
from localserve.server.running import RunningServer, running_servers

EXAMPLES = """
Examples:

  localserve status

  localserve status --json | jq -r '.servers[].url'

  localserve status >/dev/null && echo running

Exit status: 0 a server runs and answers, 1 none does, 2 wrong usage.
"""


def status(
    port: Port = None,
    as_json: AsJson = False,
) -> None:
    settings = read_settings()
    found = [_state(server) for server in _chosen(settings, port)]
    if as_json:
        typer.echo(json.dumps({"servers": found}, indent=2))
    else:
        _print(found)
    if not any(server["answers"] for server in found):
        raise typer.Exit(1)


status.__doc__ = f"Say whether a server runs, and where.\n{EXAMPLES}"


def _chosen(settings: Settings, port: int | None) -> list[RunningServer]:
    return [server for server in running_servers(settings) if port in (None, server.port)]


def _state(server: RunningServer) -> dict[str, Any]:
    document: dict[str, Any] = {
        "url": server.url,
        "port": server.port,
        "pid": server.pid,
        "started_at": datetime.fromtimestamp(server.started_at)
        .astimezone()
        .isoformat(timespec="seconds"),
        "log": server.log,
        "default": server.model,
        "answers": True,
        "problem": None,
        "models": [],
    }
    try:
        answer = ask(server, "GET", "/admin/models")
    except NoServer as error:
        return document | {"answers": False, "problem": error.message}
    loaded = [model for model in answer["models"] if model["state"] in ("loaded", "loading")]
    return document | {
        "default": answer["default"],
        "models": [{"id": model["id"], "state": model["state"]} for model in loaded],
    }


def _print(found: list[dict[str, Any]]) -> None:
    if not found:
        console.print("No server is running. `localserve up` starts one.")
    for server in found:
        console.print(
            plain(f"{server['url']} since {server['started_at']} (process {server['pid']})"),
            style="green" if server["answers"] else "red",
        )
        names = [f"{model['id']} ({model['state']})" for model in server["models"]]
        console.print(plain(f"  models  {', '.join(names) or 'none is loaded'}"))
        console.print(plain(f"  log     {server['log']}"))
        if server["problem"]:
            console.print(plain(f"  {server['problem']}"))
