"""What cells that others hold cost a single stream, by hand over the bindings.

Run as `python -m benchmarks.crowding`. A sequence holds more and more cells, as kept prefixes do;
behind it another one gets a token after another. On a processor, attention looks at the mask of
each cell in use and shares the cells out among its threads by their place.
"""

from __future__ import annotations

import sys
from pathlib import Path
from statistics import median
from typing import Annotated

import psutil
import typer

from benchmarks.raw_loop import RawLoop
from benchmarks.run import own_model
from benchmarks.shapes import ShapeName
from benchmarks.tables import Findings, Section, busy_notes, show

HELD = (0, 300, 600, 1_200, 2_400, 4_800, 7_200)
CONTEXTS = (32, 256)
"""Of the stream, where its first step is timed."""

ROUNDS = 3


def section(milliseconds: dict[int, dict[int, float]]) -> Section:
    """A row for each number of cells held, a column for each context: ms a token, and how much
    more that is than with none held."""
    headings = ("cells of others", *(f"context {context:,}" for context in CONTEXTS))
    least = milliseconds[HELD[0]]
    rows = tuple(
        (
            f"{held:,}",
            *(f"{ms:.2f} ms ({ms / least[context] - 1:+.1%})" for context, ms in row.items()),
        )
        for held, row in milliseconds.items()
    )
    return Section(headings, rows)


def main(
    model: Annotated[Path | None, typer.Option(help="Default: a 0.6B of random weights.")] = None,
    steps: Annotated[int, typer.Option(min=1, help="Steps measured each.")] = 48,
    threads: Annotated[int | None, typer.Option(help="Default: the physical cores.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="A smoke test; figures say nothing.")] = (
        False
    ),
    json_output: Annotated[bool, typer.Option("--json", help="Print JSON, samples too.")] = False,
    log: Annotated[str | None, typer.Option(help="Add an entry with this note to LOG.md.")] = None,
) -> None:
    """Measure a single stream behind cells that others hold.

    For example: python -m benchmarks.crowding --log "a newer llama.cpp"
    """
    chosen = model or own_model(ShapeName.TINY if quick else ShapeName.QWEN3_0_6B)
    threads = threads or psutil.cpu_count(logical=False) or 1
    steps, rounds = (2, 1) if quick else (steps, ROUNDS)
    notes = busy_notes()
    loop = RawLoop(str(chosen), HELD[-1] + 1_024, 2, threads)
    milliseconds: dict[int, dict[int, float]] = {}
    for held in HELD[:2] if quick else HELD:
        print(f"{held:,} cells held", file=sys.stderr)
        loop.hold(1, held)
        loop.crowded_step_seconds(CONTEXTS[0], steps)  # the first after a prompt are slow
        milliseconds[held] = {
            context: 1e3
            * min(median(loop.crowded_step_seconds(context, steps)) for _ in range(rounds))
            for context in CONTEXTS
        }
    findings = Findings(
        settings={"file": chosen.name, "threads": str(threads), "steps": str(steps)},
        sections=(section(milliseconds),),
        samples=milliseconds,
        notes=notes,
    )
    show(findings, json_output=json_output, log=log)


if __name__ == "__main__":
    typer.run(main)
