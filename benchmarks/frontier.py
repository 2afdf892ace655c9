"""What a step may take: how long a stream waits for a long prompt, against how long that one takes.

Run as `python -m benchmarks.frontier`. For each step budget of localserve, the one that it chooses
by itself included, and for each batch size of xllamacpp, its own included: the longest gap of a
running stream and the time to the long prompt's first token. Servers are started one at a time, in
another order in each run; each computes a prompt alone before, as any server has that was in use.
Knows nothing of how servers work.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Annotated

import psutil
import typer

from benchmarks import servers
from benchmarks.run import own_model
from benchmarks.scenarios import (
    LONGER_PROMPT,
    Figure,
    LongPrompt,
    Prompts,
    SingleStream,
)
from benchmarks.servers import Server, Settings, settle
from benchmarks.shapes import ShapeName
from benchmarks.tables import Findings, Section, busy_notes, own_versions, show

BUDGETS_MS = (125.0, 250.0, 500.0, 1000.0)
BATCHES = (512, 256, 128, 64, 32)
MOST_GAP_BUDGETS = 2.0
MOST_GAP_SHARE = 1 / 20
MOST_FIRST_TOKEN_SHARE = 1.25

SCENARIOS = (LongPrompt(), LONGER_PROMPT)
QUICK_SCENARIOS = (LongPrompt(words=300),)
_WARM_UP = SingleStream(words=700, tokens=4)


@dataclass(frozen=True, slots=True)
class Choice:
    """One server with one setting: a step budget of ours, or a batch size of theirs."""

    ours: bool
    value: float | None

    @property
    def name(self) -> str:
        if self.ours:
            return "its own choice" if self.value is None else f"{self.value:.0f} ms"
        return "xllamacpp" if self.value is None else f"xllamacpp -b -ub {self.value:.0f}"

    def start(self, settings: Settings, peer: str, logs: Path) -> AbstractContextManager[Server]:
        if self.ours:
            return servers.localserve(settings, sys.executable, logs, step_budget_ms=self.value)
        batch = None if self.value is None else int(self.value)
        return servers.xllamacpp(settings, peer, logs, batch=batch)


BUDGET = Figure("step budget", "ms")
OWN_CHOICE = Choice(True, None)
PEER_DEFAULT = Choice(False, None)

Samples = Mapping[Choice, Mapping[Figure, list[float]]]


def measure(
    settings: Settings,
    peer: str | None,
    choices: Sequence[Choice],
    scenarios: Sequence[LongPrompt],
    runs: int,
    seed: int,
) -> Samples:
    """Run every scenario against every choice. Raises: BenchmarkFailed."""
    samples: dict[Choice, dict[Figure, list[float]]] = defaultdict(lambda: defaultdict(list))
    for run in range(runs):
        for choice in choices if run % 2 == 0 else reversed(choices):
            print(f"run {run + 1} of {runs}: {choice.name}", file=sys.stderr)
            # A folder for each: no server finds on disk what another one has computed.
            with (
                tempfile.TemporaryDirectory(prefix="localserve-frontier-") as logs,
                choice.start(settings, peer or sys.executable, Path(logs)) as server,
            ):
                asyncio.run(_WARM_UP.run(server, Prompts(seed, "warm-up", run)))
                for scenario in scenarios:
                    settle(server.process)
                    prompts = Prompts(seed, scenario.name, run)
                    measured = asyncio.run(scenario.run(server, prompts))
                    for figure, value in measured.figures.items():
                        samples[choice][figure].append(value)
                if choice.ours:
                    samples[choice][BUDGET].append(servers.step_budget_ms(server))
    return samples


def section(samples: Samples, scenario: LongPrompt) -> Section:
    """One scenario: all choices, and what of the goals each meets."""
    medians = {
        choice: (median(figures[scenario.gap]), median(figures[scenario.first_token]))
        for choice, figures in samples.items()
    }
    theirs = medians.get(PEER_DEFAULT)
    gaps = [gap for choice, (gap, _) in medians.items() if not choice.ours]
    rows = []
    for choice, (gap, first) in medians.items():
        name, budget_ms = choice.name, _budget_ms(samples[choice])
        if choice == OWN_CHOICE:
            name += f", {budget_ms:.0f} ms"
        row = [name, f"{gap:.3f}", f"{first:.2f}"]
        if theirs is None:
            row += ["", "", ""]
        else:
            shares = gap / theirs[0], gap / min(gaps), first / theirs[1]
            row += [f"{share:.3f}" for share in shares]
        rows.append((*row, _verdict(budget_ms, gap, first, theirs)))
    headings = (
        "step budget",
        "gap (s)",
        "first (s)",
        "gap ratio",
        "to their best",
        "first ratio",
        "goals",
    )
    return Section(headings, tuple(rows), scenario.describe())


def _budget_ms(figures: Mapping[Figure, list[float]]) -> float | None:
    """Of a localserve, as it says itself."""
    return median(figures[BUDGET]) if BUDGET in figures else None


def _verdict(
    budget_ms: float | None, gap: float, first: float, theirs: tuple[float, float] | None
) -> str:
    if budget_ms is None:
        return ""
    missed = []
    if gap > MOST_GAP_BUDGETS * budget_ms / 1e3:
        missed.append(f"gap ≤ {MOST_GAP_BUDGETS:.0f} budgets")
    if theirs is not None and gap > MOST_GAP_SHARE * theirs[0]:
        missed.append("gap ≤ 1/20")
    if theirs is not None and first > MOST_FIRST_TOKEN_SHARE * theirs[1]:
        missed.append(f"first token ≤ {MOST_FIRST_TOKEN_SHARE}")
    return f"missed: {', '.join(missed)}" if missed else "met"


def main(
    model: Annotated[Path | None, typer.Option(help="Default: a 0.6B of random weights.")] = None,
    runs: Annotated[int, typer.Option(min=1, help="Alternating runs.")] = 3,
    ctx: Annotated[int, typer.Option(help="Cells of all servers.")] = 8192,
    parallel: Annotated[int, typer.Option(help="Sequences of all servers.")] = 8,
    threads: Annotated[int | None, typer.Option(help="Default: the physical cores.")] = None,
    peer_python: Annotated[
        Path | None, typer.Option(help="The Python that has xllamacpp. Default: this one.")
    ] = None,
    no_xllamacpp: Annotated[bool, typer.Option("--no-xllamacpp", help="Leave it out.")] = False,
    seed: Annotated[int, typer.Option(help="Of the prompts.")] = 0,
    quick: Annotated[bool, typer.Option("--quick", help="A smoke test; figures say nothing.")] = (
        False
    ),
    json_output: Annotated[bool, typer.Option("--json", help="Print JSON, samples too.")] = False,
    log: Annotated[str | None, typer.Option(help="Add an entry with this note to LOG.md.")] = None,
) -> None:
    """Measure gaps of a stream and first tokens of long prompts, by the budget of a step.

    For example: python -m benchmarks.frontier --runs 5 --log "whole rows"
    """
    settings = Settings(
        model=model or own_model(ShapeName.TINY if quick else ShapeName.QWEN3_0_6B),
        context=ctx,
        parallel=parallel,
        threads=threads or psutil.cpu_count(logical=False) or 1,
    )
    budgets, batches = (BUDGETS_MS[:1], BATCHES[:1]) if quick else (BUDGETS_MS, BATCHES)
    choices = [OWN_CHOICE, *(Choice(True, budget) for budget in budgets)]
    if not no_xllamacpp:
        choices += [PEER_DEFAULT, *(Choice(False, batch) for batch in batches)]
    scenarios = QUICK_SCENARIOS if quick else SCENARIOS
    runs = 1 if quick else runs
    notes = busy_notes()
    peer = None if peer_python is None else str(peer_python)
    samples = measure(settings, peer, choices, scenarios, runs, seed)
    findings = Findings(
        settings={
            "file": settings.model.name,
            "threads": str(settings.threads),
            "context": str(ctx),
            "parallel": str(parallel),
            "runs": str(runs),
        },
        sections=tuple(section(samples, scenario) for scenario in scenarios),
        samples={
            choice.name: {figure.name: values for figure, values in figures.items()}
            for choice, figures in samples.items()
        },
        notes=notes,
        versions=own_versions(),
    )
    show(findings, json_output=json_output, log=log)


if __name__ == "__main__":
    typer.run(main)
