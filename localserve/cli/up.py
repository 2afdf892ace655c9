"""`localserve up`: serve a model until Ctrl-C."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn

from localserve.catalog.registry import load_registry
from localserve.catalog.usage import remember_use
from localserve.cli.choose import choose_model
from localserve.cli.terminal import console, count_text, errors, plain, size_text
from localserve.config import Settings, read_settings
from localserve.server.listeners import Listeners, listen
from localserve.server.reports import (
    Aborting,
    Answered,
    Live,
    Loaded,
    LoadFailed,
    LoadProgress,
    Note,
)
from localserve.server.supervisor import Died, Event, FellBack, Supervisor

EXAMPLES = """
Examples:

  localserve up                  the model used last, else the built-in one

  localserve up qwen3-8b         a name or alias of models.toml

  localserve up llama3.2         what Ollama or another program has here

  localserve up ~/some.gguf      a file

  localserve up --ctx 32768 --parallel 4 --port 9000
"""


def up(
    model: Annotated[
        str | None,
        typer.Argument(metavar="NAME|PATH.gguf", help="What to serve [LOCALSERVE_MODEL]."),
    ] = None,
    config: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The models.toml to read.")
    ] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on [127.0.0.1].")] = None,
    port: Annotated[int | None, typer.Option(help="Port; 0 takes any free one [8080].")] = None,
    ctx: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Tokens of context: the pool that all requests share, and the most that one"
            " may use [the model's, else 8192].",
        ),
    ] = None,
    parallel: Annotated[
        int | None, typer.Option(metavar="N", help="Requests computed together [8].")
    ] = None,
    threads: Annotated[
        int | None, typer.Option(metavar="N", help="CPU threads [the physical cores].")
    ] = None,
    offline: Annotated[bool, typer.Option("--offline", help="Never use the network.")] = False,
) -> None:
    settings = read_settings(
        {
            "config_file": config,
            "host": host,
            "port": port,
            "context_tokens": ctx,
            "parallel": parallel,
            "threads": threads,
            "offline": offline or None,
        }
    )
    registry = load_registry(settings)
    spec, fallback = choose_model(model, registry, settings)
    listeners = listen(settings.host, settings.port)
    screen = Screen(settings, listeners)
    status = Supervisor(settings, spec, listeners, screen.show, fallback=fallback).run()
    screen.close()
    listeners.close()
    raise typer.Exit(status)


up.__doc__ = f"""Serve a model over HTTP until Ctrl-C.
{EXAMPLES}

Exit status: 0 stopped by Ctrl-C or SIGTERM, 1 it cannot serve, 2 wrong usage.
"""


class Screen:
    """Shows what workers report."""

    def __init__(self, settings: Settings, listeners: Listeners) -> None:
        self._settings = settings
        self._listeners = listeners
        self._bar: Progress | None = None
        self._task: TaskID | None = None

    def show(self, report: Event) -> None:
        if not isinstance(report, LoadProgress):
            self.close()
        match report:
            case Live():
                pass
            case LoadProgress(name, share):
                self._show_progress(name, share)
            case Loaded(facts):
                remember_use(Path(facts.file), self._settings)
                self._show_loaded(report)
            case LoadFailed(message, hint):
                errors.print("[bold red]error[/]", end=" ")
                errors.print(" ".join([message, hint]).rstrip(), markup=False)
            case Answered(line):
                console.print(time.strftime("%H:%M:%S"), line, markup=False)
            case Note(level, text):
                style = "yellow" if level < logging.ERROR else "red"
                style = "dim" if level < logging.WARNING else style
                errors.print(f"[{style}]{escape(text)}[/]")
            case Aborting(reason):
                errors.print(f"[red]llama.cpp gave up: {escape(reason)}[/]")
            case Died(how, reason, again):
                self._show_death(how, reason, again)
            case FellBack(failed, name):
                text = (
                    f"{failed} was not named by you and cannot be loaded: {name} is served instead."
                )
                errors.print(plain(f"{text} `localserve up NAME` serves another."), style="yellow")

    def close(self) -> None:
        """Take the progress bar away."""
        if self._bar is not None:
            self._bar.stop()
            self._bar, self._task = None, None

    def _show_progress(self, name: str, share: float) -> None:
        if not console.is_terminal:
            return
        if self._bar is None:
            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                TaskProgressColumn(),
                console=console,
                transient=True,
            )
            self._bar.start()
            self._task = self._bar.add_task("", total=1.0)
        assert self._task is not None
        doing = "loading" if share < 1.0 else "warming up"
        self._bar.update(self._task, completed=share, description=f"{doing} {escape(name)}")

    def _show_loaded(self, loaded: Loaded) -> None:
        facts = loaded.facts
        rows = {
            "model": f"{facts.name} ({facts.architecture}, {count_text(facts.parameters)}"
            f" parameters, {size_text(facts.weights_bytes)})",
            "file": facts.file,
            "device": facts.device,
            "context": f"{facts.context_tokens} tokens for up to {facts.parallel} requests at once"
            f" (trained for {facts.trained_context_tokens})",
            "memory": f"{size_text(loaded.memory_bytes)} in use",
            "ready": f"[bold green]{self._listeners.url}[/] after {loaded.seconds:.1f} s",
        }
        for name, text in rows.items():
            shown = text if name == "ready" else escape(plain(text).plain)
            console.print(f"  [dim]{name:8}[/] {shown}")
        console.print(f"  [dim]{'try':8}[/] {escape(self._example())}")

    def _example(self) -> str:
        return (
            f"curl {self._listeners.url}/v1/chat/completions"
            """ -d '{"messages": [{"role": "user", "content": "Hello"}]}'"""
        )

    def _show_death(self, how: str, reason: str, again: bool) -> None:
        why = f": {reason}" if reason else ""
        errors.print(f"[red]The worker {escape(how + why)}.[/]")
        if again:
            errors.print("It is started again; requests wait meanwhile.")
        else:
            errors.print(
                "[bold red]error[/] It died three times before the model was loaded. Is the file"
                " damaged? Try another model, a smaller --ctx, or LOCALSERVE_LOG_LEVEL=debug."
            )
