"""`localserve cache`: what the response cache of the running server holds; forgetting it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from localserve.cli.options import AsJson
from localserve.cli.reach import LOAD_SECONDS, Port, ask, find_server
from localserve.cli.terminal import console, plain
from localserve.config import read_settings
from localserve.planner.sizes import memory_text

CACHE_HELP = """Look at the response cache of the running server, or purge it.

LOCALSERVE_RESPONSE_CACHE=1 switches it on: answers to requests with temperature 0 or a seed, and
vectors, are kept and given again.
"""

STATS_EXAMPLES = """
Examples:

  localserve cache stats

  localserve cache stats --json | jq .saved_tokens

Exit status: 0 done (also when the cache is off), 1 no server runs, 2 wrong usage.
"""

PURGE_EXAMPLES = """
Answers that are being given go on, and are not kept.

Examples:

  localserve cache purge

  localserve cache purge --model qwen3-8b

Exit status: 0 purged, 1 the store fails or no server runs, 2 wrong usage.
"""


cache = typer.Typer(
    name="cache",
    help=CACHE_HELP,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)


def stats(port: Port = None, as_json: AsJson = False) -> None:
    document = ask(find_server(read_settings(), port), "GET", "/admin/cache")
    if as_json:
        typer.echo(json.dumps(document, indent=2))
    elif not document["enabled"]:
        console.print("The response cache is off. LOCALSERVE_RESPONSE_CACHE=1 switches it on.")
    else:
        for line in _stats_lines(document):
            console.print(plain(line))


stats.__doc__ = f"Show what the response cache holds and did.\n{STATS_EXAMPLES}"


def purge(
    model: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only answers of this model [all].")
    ] = None,
    port: Port = None,
    as_json: AsJson = False,
) -> None:
    server = find_server(read_settings(), port)
    document = ask(server, "POST", "/admin/cache/purge", {"model": model}, LOAD_SECONDS)
    if as_json:
        typer.echo(json.dumps(document, indent=2))
        return
    count = document["purged"]
    whose = f" of {model}" if model else ""
    console.print(plain(f"{count:,} kept answer{'' if count == 1 else 's'}{whose} forgotten"))


purge.__doc__ = f"Forget kept answers.\n{PURGE_EXAMPLES}"

cache.command("stats")(stats)
cache.command("purge")(purge)


def _stats_lines(document: Mapping[str, Any]) -> list[str]:
    """What people read of `/admin/cache` where the cache is on."""
    asked = document["hits"] + document["misses"]
    share = f" ({document['hits'] / asked:.0%})" if asked else ""
    memory, store = document["memory"], document["store"]
    kept = (
        "does not tell what it holds"
        if store["entries"] is None
        else f"{store['entries']:,} answers, {memory_text(store['bytes'])},"
        f" {store['evictions']:,} evicted"
    )
    return [
        f"hits: {document['hits']:,}{share}, {document['saved_tokens']:,} tokens not computed",
        f"misses: {document['misses']:,}, not determined or not to be kept:"
        f" {document['bypasses']:,}",
        f"memory: {memory['entries']:,} answers, {memory_text(memory['bytes'])},"
        f" {memory['evictions']:,} evicted",
        f"{store['kind']}: {kept}{'' if store['works'] else ' (fails: see localserve logs)'}",
    ]
