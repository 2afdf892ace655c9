"""`localserve load NAME` and `localserve unload NAME`, of the running server."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any
from urllib.parse import quote

import typer

from localserve.cli.reach import LOAD_SECONDS, Port, ask, find_server
from localserve.cli.terminal import console, errors, memory_text, plain
from localserve.config import read_settings

LOAD_EXAMPLES = """
Idle models make room if need be. Requests load models by themselves: this only spares the first
one the wait.

Examples:

  localserve load qwen3-8b

  localserve load qwen3-8b --pin     and never unload it to make room

  localserve load qwen3-8b --json | jq .memory_bytes

Exit status: 0 loaded, 1 it cannot be loaded or no server runs, 2 wrong usage.
"""

UNLOAD_EXAMPLES = """
The next request that names it loads it again.

Examples:

  localserve unload qwen3-8b

  localserve unload qwen3-8b --force     ends the answers that it is giving

Exit status: 0 unloaded, 1 it is in use or no server runs, 2 wrong usage.
"""

Name = Annotated[str, typer.Argument(metavar="NAME", help="A name that `list` shows.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def load(
    name: Name,
    pin: Annotated[bool, typer.Option("--pin", help="Never unload it to make room.")] = False,
    port: Port = None,
    as_json: AsJson = False,
) -> None:
    server = find_server(read_settings(), port)
    path = f"/admin/models/{quote(name)}"
    with errors.status(f"loading {name}"):
        model = ask(server, "POST", f"{path}/load", {}, LOAD_SECONDS)
    if pin:
        model = ask(server, "POST", f"{path}/pin", {})
    if as_json:
        typer.echo(json.dumps(model, indent=2))
        return
    reduced = model["context_reduced_from_tokens"]
    less = f" (memory did not suffice for {reduced})" if reduced else ""
    console.print(
        plain(
            f"{model['id']} is loaded: {model['context_tokens']} tokens of context{less},"
            f" {_memory(model)}" + (", pinned" if model["pinned"] else "")
        )
    )


load.__doc__ = f"Load a model into the running server.\n{LOAD_EXAMPLES}"


def unload(
    name: Name,
    force: Annotated[bool, typer.Option("--force", help="End the answers it gives.")] = False,
    port: Port = None,
    as_json: AsJson = False,
) -> None:
    server = find_server(read_settings(), port)
    path = f"/admin/models/{quote(name)}/unload"
    model = ask(server, "POST", path, {"force": force}, LOAD_SECONDS)
    if as_json:
        typer.echo(json.dumps(model, indent=2))
    else:
        console.print(plain(f"{model['id']} is not loaded"))


unload.__doc__ = f"Free the memory of a model of the running server.\n{UNLOAD_EXAMPLES}"


def _memory(model: Mapping[str, Any]) -> str:
    return memory_text(sum(model["memory_bytes"].values()))
