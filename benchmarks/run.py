"""Measures localserve against llama-server's code, alternating, and prints ratios of medians.

Run as `scripts/bench`. All servers are up while a run goes from one to the next, so a drift of the
machine meets all alike; the order is turned round after each run.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from dataclasses import replace
from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path
from types import FrameType
from typing import Annotated

import psutil
import typer
from rich.console import Console

from benchmarks import INSTALL, report
from benchmarks.client import BenchmarkFailed
from benchmarks.make_model import WeightType, default_path
from benchmarks.measure import Peers, measure
from benchmarks.scenarios import (
    LONGER_PROMPT,
    LongPrompt,
    ManyStreams,
    Restart,
    Scenario,
    SharedPrefix,
    SingleStream,
    Turns,
)
from benchmarks.servers import Settings
from benchmarks.shapes import SHAPES, ShapeName

_TABLE_WIDTH = 110
LOG = Path(__file__).with_name("LOG.md")
_FULL: tuple[Scenario, ...] = (
    SingleStream(),
    ManyStreams(),
    LongPrompt(),
    LONGER_PROMPT,
    SharedPrefix(),
    Turns(),
    Restart(),
)
_QUICK: tuple[Scenario, ...] = (
    SingleStream(words=8, tokens=16),
    ManyStreams(clients=4, rounds=1, words=8, tokens=8),
    LongPrompt(words=300),
    replace(LONGER_PROMPT, words=600),
    SharedPrefix(clients=4, words=100),
    Turns(turns=3, words=20, tokens=8),
    Restart(words=400),
)


class ScenarioName(StrEnum):
    """What can be chosen by --scenario."""

    SINGLE = "single"
    MANY = "many"
    LONG = "long"
    LONGER = "longer"
    SHARED = "shared"
    TURNS = "turns"
    RESTART = "restart"


def main(
    model: Annotated[Path | None, typer.Option(help="Default: a 0.6B of random weights.")] = None,
    runs: Annotated[int, typer.Option(min=1, help="Alternating runs.")] = 7,
    scenario: Annotated[list[ScenarioName] | None, typer.Option(help="Default: all.")] = None,
    ctx: Annotated[int, typer.Option(help="Cells of all servers.")] = 8192,
    parallel: Annotated[int, typer.Option(help="Sequences of all servers.")] = 8,
    threads: Annotated[int | None, typer.Option(help="Default: the physical cores.")] = None,
    url: Annotated[str | None, typer.Option(help="Measure a localserve that runs there.")] = None,
    peer_python: Annotated[
        Path | None, typer.Option(help="The Python of the peers. Default: this one.")
    ] = None,
    no_xllamacpp: Annotated[bool, typer.Option("--no-xllamacpp", help="Leave it out.")] = False,
    peer_server: Annotated[
        str | None, typer.Option(help="A llama-server program, as one more peer.")
    ] = None,
    example_server: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            help="examples/server/server.py of llama-cpp-python's source, as one more peer, by the"
            " Python of the peers. It needs fastapi and openai.",
        ),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Of the prompts. Default: the time.")] = None,
    json_output: Annotated[bool, typer.Option("--json", help="Print JSON, samples too.")] = False,
    log: Annotated[str | None, typer.Option(help="Add an entry with this note to LOG.md.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="A smoke test; figures say nothing.")] = (
        False
    ),
) -> None:
    """Measure localserve against its peers and the raw loop: same file, threads and context."""
    signal.signal(signal.SIGTERM, _leave)
    console = Console(stderr=True)
    peer = None if no_xllamacpp else str(peer_python or sys.executable)
    if peer == sys.executable and find_spec("xllamacpp") is None:
        console.print(
            f"error: benchmarks need the package xllamacpp. {INSTALL}; or name a Python that has it"
            " with --peer-python, or leave it out by --no-xllamacpp.",
            style="red",
            highlight=False,
            soft_wrap=True,
        )
        raise SystemExit(1)
    settings = Settings(
        model=model or own_model(ShapeName.TINY if quick else ShapeName.QWEN3_0_6B),
        context=ctx,
        parallel=parallel,
        threads=threads or psutil.cpu_count(logical=False) or 1,
    )
    known = _QUICK if quick else _FULL
    chosen = [
        each
        for each in known
        if (each.name in scenario if scenario else url is None or each.name != ScenarioName.RESTART)
    ]
    peers = Peers(url, peer, peer_server, example_server)
    seed = int(time.time()) if seed is None else seed
    try:
        results = measure(settings, peers, chosen, 1 if quick else runs, seed, console)
    except BenchmarkFailed as failure:
        console.print(str(failure), style="red", highlight=False, markup=False)
        raise SystemExit(1) from None
    _print_results(results, console, Console(stderr=json_output))
    if json_output:
        print(report.render_json(results))
    if log is not None:
        report.append_log_entry(LOG, report.render_log_entry(results, log))
        console.print(f"added to {LOG}")


def _leave(number: int, frame: FrameType | None) -> None:
    """Stop the servers on the way out instead of leaving them behind."""
    raise SystemExit(128 + number)


def _print_results(results: report.Results, console: Console, table_console: Console) -> None:
    table_console.width = max(table_console.width, _TABLE_WIDTH)
    table_console.print(report.render_table(results))
    for name, share in results.idle.items():
        console.print(f"{name} takes {share:.1%} of one core while idle")
    for note in results.notes:
        console.print(note, style="yellow", highlight=False, markup=False)


def own_model(shape: ShapeName) -> Path:
    """The random model of the cache folder, made by a child if it is not there."""
    path = default_path(SHAPES[shape], WeightType.Q4_K_M)
    if not path.exists():
        command = [sys.executable, "-m", "benchmarks.make_model", "--shape", shape, str(path)]
        subprocess.run(command, check=True, stdout=sys.stderr)
    return path
