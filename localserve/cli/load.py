"""`localserve load NAME` and `localserve unload NAME`, of the running server."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any
from urllib.parse import quote

import typer

from localserve.cli.model_names import models_here
from localserve.cli.options import (
    AsJson,
    CacheTypeK,
    CacheTypeV,
    ContextAsUp,
    CpuMoeLayers,
    GpuLayers,
    Parallel,
)
from localserve.cli.reach import LOAD_SECONDS, Port, ask, find_server
from localserve.cli.terminal import console, errors, plain
from localserve.config import read_settings
from localserve.planner.sizes import memory_text

LOAD_EXAMPLES = """
Idle models make room if need be. Requests load models by themselves: this spares the first one
the wait, or says how the model is to be run. Options are constraints as for `fit` and `up`, come
before what `up` and models.toml say, and hold until the model is unloaded; one that is loaded
otherwise and idle is loaded anew.

Examples:

  localserve load qwen3-8b

  localserve load qwen3-8b --pin     and never unload it to make room

  localserve load qwen3-8b --ctx 32768 --cache-type-k q8_0 --cache-type-v q8_0

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

Name = Annotated[
    str,
    typer.Argument(metavar="NAME", help="A name that `list` shows.", autocompletion=models_here),
]


def load(
    name: Name,
    ctx: ContextAsUp = None,
    parallel: Parallel = None,
    cache_type_k: CacheTypeK = None,
    cache_type_v: CacheTypeV = None,
    gpu_layers: GpuLayers = None,
    cpu_moe_layers: CpuMoeLayers = None,
    pin: Annotated[bool, typer.Option("--pin", help="Never unload it to make room.")] = False,
    port: Port = None,
    as_json: AsJson = False,
) -> None:
    options = {
        "context_tokens": ctx,
        "parallel": parallel,
        "cache_type_k": cache_type_k,
        "cache_type_v": cache_type_v,
        "gpu_layers": gpu_layers,
        "cpu_moe_layers": cpu_moe_layers,
    }
    server = find_server(read_settings(options), port)
    wanted = {option: value for option, value in options.items() if value is not None}
    path = f"/admin/models/{quote(name)}"
    with errors.status(f"loading {name}"):
        model = ask(server, "POST", f"{path}/load", wanted, LOAD_SECONDS)
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
