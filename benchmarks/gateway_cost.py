"""What all that surrounds the engine costs: the app with everything on against everything off.

Run as `python -m benchmarks.gateway_cost`. Two servers over a fake backend (`gateway_server.py`)
are asked in turn over real sockets, in rounds whose order alternates: by one user for the time to
the first token, by several for throughput, while the backend answers at the pace of a fast model.
Unpaced, where it takes no time at all and the processor is the limit, is told without a goal: no
model is that fast.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from benchmarks.client import BenchmarkFailed
from benchmarks.servers import Process
from benchmarks.tables import Findings, Section, busy_notes, show
from localserve.errors import LocalserveError
from localserve.loadtest.client import Load, load_client
from localserve.loadtest.figures import StepFigures
from localserve.loadtest.step import run_step, warm_up

ADDED_GOAL_MS = 2.0
LOST_GOAL_PERCENT = 3.0


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked in each round: how many users, tokens of an answer, and milliseconds between
    two of them."""

    name: str
    users: int
    tokens: int
    token_ms: float


@dataclass(frozen=True, slots=True)
class Pair:
    """One round of one question: the same figure with everything on and off."""

    on: float
    off: float


@dataclass(frozen=True, slots=True)
class Cost:
    """The median over the rounds of what is added or lost, and the least and most of it."""

    figure: str
    unit: str
    on: float
    off: float
    value: float
    least: float
    most: float
    goal: float | None

    @property
    def verdict(self) -> str:
        """Against the goal; empty without one."""
        if self.goal is None:
            return ""
        return f"< {self.goal:g} {'met' if self.value < self.goal else 'missed'}"


def added(name: str, pairs: Sequence[Pair]) -> Cost:
    """What is added to a time (pairs in seconds), in milliseconds."""
    return _cost(name, "ms", pairs, [(one.on - one.off) * 1e3 for one in pairs], ADDED_GOAL_MS, 1e3)


def lost(name: str, pairs: Sequence[Pair], goal: float | None) -> Cost:
    """What is lost of a rate, in per cent. Raises: BenchmarkFailed, where there was none."""
    if any(one.off <= 0 for one in pairs):
        raise BenchmarkFailed(f"{name}: nothing was answered while a round lasted")
    return _cost(name, "%", pairs, [(1 - one.on / one.off) * 100 for one in pairs], goal, 1.0)


def _cost(
    name: str,
    unit: str,
    pairs: Sequence[Pair],
    values: Sequence[float],
    goal: float | None,
    scale: float,
) -> Cost:
    on, off = (median(one.on for one in pairs) * scale, median(one.off for one in pairs) * scale)
    return Cost(name, unit, on, off, median(values), min(values), max(values), goal)


@contextmanager
def server(on: bool, asked: Asked, folder: Path) -> Iterator[Load]:
    """A server, and how it is to be asked. Raises: BenchmarkFailed."""
    name = f"{asked.name}-{'on' if on else 'off'}"
    command = [sys.executable, "-m", "benchmarks.gateway_server", str(folder / name)]
    command += ["--on" if on else "--off", "--token-ms", str(asked.token_ms)]
    command += ["--tokens", str(asked.tokens)]
    process = Process(name, command, folder / f"{name}.log", pipes=True)
    try:
        assert process.child.stdout is not None
        line = process.child.stdout.readline()
        if not line:
            process.child.wait()
            process.check_alive()
        told = json.loads(line)
        yield Load(told["url"], told["key"], max_tokens=asked.tokens)
    finally:
        process.stop()


async def _ask(load: Load, users: int, seconds: float) -> StepFigures:
    async with load_client(load) as client:
        await warm_up(client)
        figures = await run_step(client, users, seconds)
    if figures.errors or figures.ttft is None:
        raise BenchmarkFailed(f"requests failed: {figures.errors}")
    return figures


def measure(
    asked: Asked, rounds: int, seconds: float, folder: Path, progress: Progress
) -> list[tuple[StepFigures, StepFigures]]:
    """On and off, as many times. Raises: BenchmarkFailed, LoadTestFailed."""
    found = []
    with ExitStack() as stack:
        loads = {on: stack.enter_context(server(on, asked, folder)) for on in (True, False)}
        for number in progress.track(range(rounds), description=asked.name):
            # The order is turned round each time, so a drift of the machine meets both alike.
            order = (True, False) if number % 2 == 0 else (False, True)
            by = {on: asyncio.run(_ask(loads[on], asked.users, seconds)) for on in order}
            found.append((by[True], by[False]))
    return found


def costs(
    rounds: int, seconds: float, users: int, token_ms: float, folder: Path, console: Console
) -> list[Cost]:
    """All figures. Raises: BenchmarkFailed, LoadTestFailed."""
    questions = (
        Asked("first token", 1, 2, 0.0),
        Asked("throughput", users, 128, token_ms),
        Asked("unpaced", users, 128, 0.0),
    )
    with Progress(console=console, transient=True) as progress:
        first, paced, unpaced = (
            measure(asked, rounds, seconds, folder, progress) for asked in questions
        )
    return [
        added("first token, p50", [Pair(_first(on), _first(off)) for on, off in first]),
        lost("tokens/s", _rates(paced), LOST_GOAL_PERCENT),
        lost("tokens/s, unpaced", _rates(unpaced), None),
    ]


def _first(figures: StepFigures) -> float:
    assert figures.ttft is not None
    return figures.ttft.p50


def _rates(found: Sequence[tuple[StepFigures, StepFigures]]) -> list[Pair]:
    return [Pair(on.tokens_per_second, off.tokens_per_second) for on, off in found]


HEADINGS = ("figure", "on", "off", "cost", "spread", "goal")


def cells(cost: Cost) -> tuple[str, ...]:
    """A line of the table."""
    return (
        cost.figure,
        f"{cost.on:.4g}",
        f"{cost.off:.4g}",
        f"{cost.value:+.3g} {cost.unit}",
        f"{cost.least:+.3g} to {cost.most:+.3g}",
        cost.verdict,
    )


def main(
    rounds: Annotated[int, typer.Option(min=1, help="On and off once each.")] = 9,
    seconds: Annotated[float, typer.Option(min=0.1, help="Of each side of a round.")] = 5.0,
    users: Annotated[int, typer.Option(min=1, help="At once, for throughput.")] = 8,
    token_ms: Annotated[
        float, typer.Option(min=0.0, help="Between two tokens of an answer, for throughput.")
    ] = 5.0,
    quick: Annotated[bool, typer.Option("--quick", help="Only show that it works.")] = False,
    json_output: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    log: Annotated[str | None, typer.Option(help="Add an entry with this note to LOG.md.")] = None,
) -> None:
    """What keys, limits, logs, metrics and spans cost; some five minutes on an idle machine.

    Example: python -m benchmarks.gateway_cost --log "what changed"
    """
    if quick:
        rounds, seconds = 1, 0.2
    notes = () if quick else busy_notes()
    if find_spec("opentelemetry") is None or find_spec("opentelemetry.sdk") is None:
        notes += ("OpenTelemetry is not installed, so no spans were made",)
    console = Console(stderr=True)
    with tempfile.TemporaryDirectory(prefix="localserve-gateway-") as folder:
        try:
            found = costs(rounds, seconds, users, token_ms, Path(folder), console)
        except (BenchmarkFailed, LocalserveError) as failure:
            console.print(f"error: {failure}", style="red", highlight=False, markup=False)
            raise typer.Exit(1) from failure
    settings = {"rounds": rounds, "seconds": seconds, "users": users, "token_ms": token_ms}
    findings = Findings(
        settings={name: f"{value:g}" for name, value in settings.items()},
        sections=(Section(HEADINGS, tuple(map(cells, found))),),
        samples=[{**asdict(cost), "verdict": cost.verdict} for cost in found],
        notes=notes,
    )
    show(findings, json_output=json_output, log=log)


if __name__ == "__main__":
    typer.run(main)
