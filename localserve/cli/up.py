"""`localserve up`: serve a model until Ctrl-C."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated
from urllib.parse import quote

import typer

from localserve.catalog.usage import remember_use
from localserve.cli.choose import choose_model
from localserve.cli.json_log import JsonLog
from localserve.cli.log_file import LogFile
from localserve.cli.model_names import models_known
from localserve.cli.offer import CatalogOffer, may_offer
from localserve.cli.options import (
    CacheTypeK,
    CacheTypeV,
    Config,
    CpuMoeLayers,
    GpuLayers,
    Offline,
    Parallel,
)
from localserve.cli.reach import LOAD_SECONDS, ask, find_server
from localserve.cli.screen import Screen
from localserve.cli.sink import Sink
from localserve.cli.terminal import Lasting, is_terminal, outlast_output
from localserve.cli.unwritable import unannounced_note, unlogged_note
from localserve.config import Settings, read_settings
from localserve.gateway.keys import new_secret
from localserve.server.configured import check_startable
from localserve.server.listeners import Listeners, listen_as_set
from localserve.server.reports import Loaded, Note
from localserve.server.running import announced, log_path
from localserve.server.supervisor import Supervisor, Told

EXAMPLES = """
Examples:

  localserve up                  the model used last, else the built-in one

  localserve up qwen3-8b         a name or alias of models.toml

  localserve up llama3.2         what Ollama or another program has here

  localserve up ~/some.gguf      a file

  localserve up OWNER/REPO:Q8_0  of the hub; `localserve pull` says how it is downloaded

  localserve up --ctx 32768 --parallel 4 --port 9000

  localserve up qwen3-8b --draft qwen3-0.6b
                                 the smaller one guesses, the larger one checks

  localserve up --also 11434     where Ollama's clients look, too

  localserve up --host 0.0.0.0 --tls-cert cert.pem --tls-key key.pem

On a terminal where there is only the built-in model, the best one of
the catalog for this machine is offered: say y, and it is downloaded and
served while the built-in one answers.

Requests can name every model that `localserve list` shows; one that is
not loaded is loaded, and idle ones make room for it. Those that name
none get this one.

Ctrl-C lets running answers end, for 10 seconds at most; a second one
ends at once. SIGHUP reads models.toml again.

Exit status: 0 stopped, 1 it cannot serve or a worker hung in its end,
2 wrong usage, 130 (143) ended by a second SIGINT (SIGTERM), 130 also
by one during a download.
"""


def up(
    model: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME|PATH.gguf|REPO[:QUANT]|URL",
            help="What to serve [LOCALSERVE_MODEL].",
            autocompletion=models_known,
        ),
    ] = None,
    config: Config = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on [127.0.0.1].")] = None,
    port: Annotated[int | None, typer.Option(help="Port; 0 takes any free one [8080].")] = None,
    also: Annotated[
        list[int] | None,
        typer.Option(
            metavar="PORT",
            help="One more port to serve on, such as Ollama's 11434; may be repeated.",
        ),
    ] = None,
    ctx: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Tokens of context: the pool that all requests share, and the most that one"
            " may use [the model's, else 8192, and up to 32768 where that is cheap].",
        ),
    ] = None,
    parallel: Parallel = None,
    cache_type_k: CacheTypeK = None,
    cache_type_v: CacheTypeV = None,
    gpu_layers: GpuLayers = None,
    cpu_moe_layers: CpuMoeLayers = None,
    threads: Annotated[
        int | None, typer.Option(metavar="N", help="CPU threads [the physical cores].")
    ] = None,
    draft: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|FILE", help="A smaller model of the same vocabulary that guesses for it."
        ),
    ] = None,
    offline: Offline = False,
    tls_cert: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Certificate (PEM): serve https.")
    ] = None,
    tls_key: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The certificate's private key (PEM).")
    ] = None,
) -> None:
    out, err = outlast_output()
    settings = read_settings(
        {
            "config_file": config,
            "host": host,
            "port": port,
            "also_ports": ",".join(map(str, also)) if also else None,
            "context_tokens": ctx,
            "parallel": parallel,
            "cache_type_k": cache_type_k,
            "cache_type_v": cache_type_v,
            "gpu_layers": gpu_layers,
            "cpu_moe_layers": cpu_moe_layers,
            "threads": threads,
            "draft": draft,
            "offline": offline or None,
            "tls_cert": tls_cert,
            "tls_key": tls_key,
        }
    )
    status, terminal_is_open = _serve(model, settings, out, err)
    if not terminal_is_open:
        os._exit(status)  # the interpreter would wait for the terminal, or fail at it
    raise typer.Exit(status)


up.__doc__ = f"Serve a model over HTTP until Ctrl-C.\n{EXAMPLES}"


def _serve(model: str | None, settings: Settings, out: Lasting, err: Lasting) -> tuple[int, bool]:
    """Serve until the end; the exit status, and whether all output came to the terminal."""
    registry = check_startable(settings).models  # a mistake is told here, not in the log
    with _remarks_apart(settings, out):
        spec, fallback = choose_model(model, registry, settings)
    listeners = listen_as_set(settings)
    screen = _screen(settings, listeners.url, out, err)
    log_file = _open_log(settings, listeners.port, screen)
    logged = _log(settings, listeners.url, log_file)
    _tell_listeners(listeners, screen)
    offer = CatalogOffer(settings, registry, screen.show, _default_of(settings, listeners.port))
    if may_offer(model, spec, settings):
        offer.begin()

    def tell(told: Told) -> None:
        if isinstance(told, Loaded):
            remember_use(Path(told.facts.file), settings)
            offer.server_is_ready()
        screen.show(told)
        logged.show(told)

    owner_key, _ = new_secret()
    with announced(settings, listeners.url, listeners.port, spec.name, owner_key) as problem:
        if problem is not None:
            tell(unannounced_note(problem, settings))
        status = Supervisor(
            settings, spec, listeners, tell, fallback=fallback, owner_key=owner_key
        ).run()
    listeners.close()
    offer.end()
    logged.close()
    log_file.close()
    return status, screen.close()


def _tell_listeners(listeners: Listeners, screen: Sink) -> None:
    """Where else it is served, and what is wrong with that."""
    for url in listeners.also_urls:
        screen.show(Note(logging.INFO, f"also listening at {url}"))
    if listeners.warning:
        screen.show(Note(logging.WARNING, listeners.warning))


def _default_of(settings: Settings, port: int) -> Callable[[str], None]:
    """Has the server on that port load a model, and answer with it where requests name none."""

    def make_default(name: str) -> None:
        path = f"/admin/models/{quote(name)}/default"
        ask(find_server(settings, port), "POST", path, {}, LOAD_SECONDS)

    return make_default


def _screen(settings: Settings, url: str, out: Lasting, err: Lasting) -> Sink:
    """What the user sees; a program, if that reads it, gets what it can read."""
    if _is_for_programs(settings, out):
        return JsonLog(url, out)
    return Screen(url, out, err)


def _open_log(settings: Settings, port: int, screen: Sink) -> LogFile:
    path = log_path(settings, port)
    file = LogFile(path, settings, dated=settings.log_format != "json")
    if (problem := file.open()) is not None:
        screen.show(unlogged_note(problem, path))
    return file


def _log(settings: Settings, url: str, file: LogFile) -> Sink:
    log = Lasting(file)
    as_json = settings.log_format == "json"
    return JsonLog(url, log) if as_json else Screen(url, log, log)


def _is_for_programs(settings: Settings, out: Lasting) -> bool:
    return settings.log_format == "json" and not is_terminal(out)


def _remarks_apart(settings: Settings, out: Lasting) -> contextlib.AbstractContextManager[object]:
    """Where programs read the output, what is said before the server starts goes to stderr."""
    if _is_for_programs(settings, out):
        return contextlib.redirect_stdout(sys.stderr)
    return contextlib.nullcontext()
