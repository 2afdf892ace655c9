"""`localserve ps`: which models the running server has loaded, and what they do."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import typer
from rich.table import Table

from localserve.cli.options import AsJson
from localserve.cli.reach import Port, ask, find_server
from localserve.cli.terminal import console, plain, print_table
from localserve.config import read_settings
from localserve.planner.sizes import memory_text

EXAMPLES = """
Examples:

  localserve ps                  models, their memory, context and requests

  localserve ps --json | jq -r '.models[] | select(.state == "loaded").id'

  localserve ps --port 9000      of the server at that port

Exit status: 0 done, 1 no server runs, 2 wrong usage.
"""


def ps(
    port: Port = None,
    as_json: AsJson = False,
) -> None:
    server = find_server(read_settings(), port)
    document = ask(server, "GET", "/admin/models")
    if as_json:
        typer.echo(json.dumps({"url": server.url, **document}, indent=2))
        return
    print_table(_model_table(document["models"]))
    for device in document["memory"]:
        capacity = device["capacity_bytes"]
        most = f" of {memory_text(capacity)} that models may take" if capacity else ""
        held = memory_text(device["held_bytes"])
        whose = ", part of RAM" if device.get("part_of") else ""
        console.print(plain(f"{_device(device['device'])}: {held} held{most}{whose}"), style="dim")


ps.__doc__ = f"Show which models the running server has loaded.\n{EXAMPLES}"


def _model_table(models: list[Mapping[str, Any]]) -> Table:
    """One line for each model that was asked for."""
    table = Table(box=None, pad_edge=False)
    for title in ("name", "state", "memory", "context", "running", "waiting", "tokens/s", "idle"):
        table.add_column(title, no_wrap=True)
    for model in models:
        rate = model["tokens_per_second"]
        cells = (
            model["id"],
            _state(model),
            _all_memory(model),
            str(model["context_tokens"] or ""),
            str(model["running"]),
            str(model["waiting"]),
            f"{rate:.1f}" if rate else "",
            _ago(model["idle_since"]),
        )
        table.add_row(*map(plain, cells), style=None if model["state"] == "loaded" else "dim")
    return table


def _state(model: Mapping[str, Any]) -> str:
    state = str(model["state"])
    if model["progress"] is not None:
        state += f" {model['progress']:.0%}"
    if model["context_reduced_from_tokens"]:
        state += f", smaller than {model['context_reduced_from_tokens']}"
    return f"{state}, pinned" if model["pinned"] else state


def _all_memory(model: Mapping[str, Any]) -> str:
    sizes = model["memory_bytes"].items()
    text = ", ".join(_memory(device, size) for device, size in sizes)
    draft = model["draft_bytes"]
    return f"{text} (draft {memory_text(draft)})" if draft else text


def _memory(device: str, size_bytes: int) -> str:
    return memory_text(size_bytes) if device == "CPU" else f"{memory_text(size_bytes)} {device}"


def _device(name: str) -> str:
    return "RAM" if name == "CPU" else name


def _ago(time: str | None) -> str:
    """How long ago a time was, such as '12 s' or '3 min'."""
    if time is None:
        return ""
    seconds = max(0.0, (datetime.now(UTC) - datetime.fromisoformat(time)).total_seconds())
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"
