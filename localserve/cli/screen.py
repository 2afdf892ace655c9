"""What `localserve up` shows of its workers: progress, the model's facts, requests, deaths."""

from __future__ import annotations

import logging
import time

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn

from localserve.backends.base import ModelFacts
from localserve.cli.offer import Fetching, Question, Shown
from localserve.cli.sink import Sink
from localserve.cli.terminal import Lasting, count_text, plain, size_text
from localserve.server.reports import (
    Aborting,
    Answered,
    DefaultChanged,
    Live,
    Loaded,
    LoadFailed,
    LoadProgress,
    Note,
    Reloaded,
)
from localserve.server.supervisor import Died, FellBack, Killed, Stopping, Told

EXAMPLES = {
    "completion": (
        "/v1/chat/completions",
        '{"messages": [{"role": "user", "content": "Hello"}]}',
    ),
    "embedding": ("/v1/embeddings", '{"input": "Hello"}'),
    "rerank": ("/v1/rerank", '{"query": "greeting", "documents": ["Hello", "Goodbye"]}'),
}
"""What to try, by what a model can do."""


class Screen(Sink):
    """Shows reports to people."""

    def __init__(self, url: str, out: Lasting, err: Lasting) -> None:
        self._url = url
        self._streams = (out, err)
        self._out = _console(out)
        self._err = _console(err)
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        super().__init__("screen")

    def close(self) -> bool:
        return super().close() and all(stream.empties() for stream in self._streams)

    def _write_loss(self, text: str) -> None:
        self._err.print(text)

    def _finish(self) -> None:
        self._hide_progress()

    def _write(self, report: Told | Shown) -> None:
        if not isinstance(report, LoadProgress | Fetching):
            self._hide_progress()
        match report:
            case Live() | Reloaded() | DefaultChanged():
                pass
            case LoadProgress(name, share):
                doing = "loading" if share < 1.0 else "warming up"
                self._show_progress(f"{doing} {name}", share)
            case Fetching(text, share):
                self._show_progress(text, share)
            case Question(text):
                self._out.print(plain(text), style="bold")
            case Loaded(default=True):
                self._show_loaded(report)
            case Loaded():
                self._show_another(report)
            case LoadFailed(message, hint):
                self._show_error(" ".join([message, hint]).rstrip())
            case Answered(line):
                self._out.print(time.strftime("%H:%M:%S"), line, markup=False)
            case Note(level, text):
                style = "yellow" if level < logging.ERROR else "red"
                style = "dim" if level < logging.WARNING else style
                self._err.print(f"[{style}]{escape(text)}[/]")
            case Aborting(reason):
                self._err.print(f"[red]llama.cpp gave up: {escape(reason)}[/]")
            case Stopping(seconds):
                self._err.print(
                    f"[dim]Stopping: running answers have {seconds:g} seconds to end; a second"
                    " Ctrl-C ends at once.[/]"
                )
            case Died():
                self._show_death(report)
            case FellBack(failed, name):
                text = (
                    f"{failed} was not named by you and cannot be loaded: {name} is served instead."
                )
                self._err.print(
                    plain(f"{text} `localserve up NAME` serves another."), style="yellow"
                )
            case Killed(seconds):
                self._show_error(
                    f"The worker did not end within {seconds:g} seconds and was killed."
                )

    def _hide_progress(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar, self._task = None, None

    def _show_progress(self, text: str, share: float) -> None:
        if not self._out.is_terminal:
            return
        if self._bar is None:
            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                TaskProgressColumn(),
                console=self._out,
                transient=True,
            )
            self._bar.start()
            self._task = self._bar.add_task("", total=1.0)
        assert self._task is not None
        self._bar.update(self._task, completed=share, description=escape(plain(text).plain))

    def _show_loaded(self, loaded: Loaded) -> None:
        facts = loaded.facts
        rows = {
            "model": f"{facts.name} ({facts.architecture}, {count_text(facts.parameters)}"
            f" parameters, {size_text(facts.weights_bytes)})",
            "file": facts.file,
            "device": facts.device,
            "context": f"{facts.context_tokens} tokens for {_together(facts)}"
            f" (trained for {facts.trained_context_tokens})",
            "memory": f"{size_text(loaded.memory_bytes)} of RAM in use",
            "ready": f"[bold green]{self._url}[/] after {loaded.seconds:.1f} s",
        }
        for name, text in rows.items():
            shown = text if name == "ready" else escape(plain(text).plain)
            self._out.print(f"  [dim]{name:8}[/] {shown}")
        self._out.print(f"  [dim]{'try':8}[/] {escape(self._example(facts))}")

    def _show_another(self, loaded: Loaded) -> None:
        facts = loaded.facts
        text = (
            f"{facts.name} is loaded, too, after {loaded.seconds:.1f} s:"
            f" {facts.context_tokens} tokens, {size_text(loaded.memory_bytes)} of RAM in use by all"
        )
        self._out.print(escape(plain(text).plain))

    def _example(self, facts: ModelFacts) -> str:
        route, body = next(EXAMPLES[can] for can in facts.capabilities if can in EXAMPLES)
        return f"curl {self._url}{route} -d '{body}'"

    def _show_death(self, death: Died) -> None:
        why = f": {death.reason}" if death.reason else ""
        self._err.print(f"[red]The worker {escape(death.how + why)}.[/]")
        if "SIGKILL" in death.how:
            self._err.print("If the system's memory ran out, a smaller --ctx or model helps.")
        if death.then == "restart":
            self._err.print("It is started again; requests wait meanwhile.")
        elif death.then == "give up":
            self._show_error(
                "It died three times before the model was loaded. Is the file damaged? Try another"
                " model, a smaller --ctx, or LOCALSERVE_LOG_LEVEL=debug."
            )

    def _show_error(self, text: str) -> None:
        self._err.print("[bold red]error[/]", end=" ")
        self._err.print(text, markup=False)


def _together(facts: ModelFacts) -> str:
    if "completion" in facts.capabilities:
        return f"up to {facts.parallel} requests at once"
    return f"each text, up to {facts.parallel} texts at once"


def _console(stream: Lasting) -> Console:
    return Console(file=stream, highlight=False, soft_wrap=True)  # type: ignore[arg-type]
