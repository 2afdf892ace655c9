"""Results as a table, as JSON and as an entry of LOG.md. Knows nothing of how they came about."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from statistics import median

from rich.box import SIMPLE_HEAD
from rich.table import Table

from benchmarks.machine import Machine
from benchmarks.ratios import Goal, Ratio, ratio_of_medians
from benchmarks.scenarios import (
    DECODE,
    ENGINE_DECODE,
    LONG_FIRST_TOKEN,
    LONGER_FIRST_TOKEN,
    LONGER_GAP,
    LONGEST_GAP,
    MANY_STREAMS,
    RESTART_FIRST_TOKEN,
    SHARED_DONE,
    SHARED_FIRST_TOKENS,
    Figure,
)
from benchmarks.servers import EXAMPLE_SERVER, OURS, RAW_LOOP

_GOALS_AGAINST_PEERS = {
    DECODE: Goal(0.98),
    MANY_STREAMS: Goal(0.98),
    LONGEST_GAP: Goal(0.05, at_most=True),
    LONG_FIRST_TOKEN: Goal(1.25, at_most=True),
    LONGER_GAP: Goal(0.05, at_most=True),
    LONGER_FIRST_TOKEN: Goal(1.25, at_most=True),
    SHARED_DONE: Goal(0.20, at_most=True),
    RESTART_FIRST_TOKEN: Goal(0.20, at_most=True),
}
_GOALS_AGAINST_RAW_LOOP = {
    ENGINE_DECODE: Goal(0.97),
    DECODE: Goal(0.95),
    SHARED_FIRST_TOKENS: Goal(1.25, at_most=True),
}


@dataclass(frozen=True, slots=True)
class Results:
    """All samples by figure and server; the values of one run have the same index everywhere.

    The raw loop's decoding is under ENGINE_DECODE. `idle` are shares of one core. `goals` are
    against peers, besides those that figures of servers have.
    """

    when: datetime
    machine: Machine
    versions: Mapping[str, str]
    settings: Mapping[str, str]
    samples: Mapping[Figure, Mapping[str, list[float]]]
    idle: Mapping[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    goals: Mapping[Figure, Goal] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Comparison:
    """One line of the report: medians in the figure's unit, and ours over theirs."""

    figure: Figure
    ours: float
    against: str
    theirs: float
    ratio: Ratio
    goal: Goal | None


def compare(results: Results) -> Iterator[Comparison]:
    """Ours against each peer in each figure, then ours against the raw loop."""
    decoding = results.samples.get(ENGINE_DECODE, {}).get(RAW_LOOP)
    goals = {**_GOALS_AGAINST_PEERS, **results.goals}
    for figure, by_server in results.samples.items():
        ours = by_server.get(OURS)
        if ours is None:
            continue
        peers = {name: values for name, values in by_server.items() if name not in (OURS, RAW_LOOP)}
        for name, theirs in peers.items():
            goal = None if name == EXAMPLE_SERVER else goals.get(figure)  # they are llama-server's
            yield _comparison(figure, ours, name, theirs, goal)
        raw = decoding if figure == DECODE else by_server.get(RAW_LOOP)
        if raw:
            yield _comparison(figure, ours, RAW_LOOP, raw, _GOALS_AGAINST_RAW_LOOP.get(figure))


def _comparison(
    figure: Figure, ours: list[float], against: str, theirs: list[float], goal: Goal | None
) -> Comparison:
    ratio = ratio_of_medians(ours, theirs)
    return Comparison(figure, median(ours), against, median(theirs), ratio, goal)


_HEADINGS = ("figure", OURS, "against", "theirs", "ratio", "spread", "goal")


def _cells(line: Comparison) -> tuple[str, ...]:
    spread = f"{line.ratio.least:.3f} to {line.ratio.most:.3f}"
    verdict = ""
    if line.goal is not None:
        verdict = f"{line.goal} {'met' if line.goal.is_met(line.ratio.value) else 'missed'}"
    return (
        f"{line.figure.name} ({line.figure.unit})",
        _number(line.ours),
        line.against,
        _number(line.theirs),
        f"{line.ratio.value:.3f}",
        spread,
        verdict,
    )


def render_table(results: Results) -> Table:
    """The comparisons for a terminal."""
    table = Table(title="medians, and ratios of medians, ours over theirs", box=SIMPLE_HEAD)
    for heading in _HEADINGS:
        table.add_column(
            heading, justify="right" if heading in (OURS, "theirs", "ratio") else "left"
        )
    for line in compare(results):
        style = "red" if line.goal and not line.goal.is_met(line.ratio.value) else None
        table.add_row(*_cells(line), style=style)
    return table


def render_json(results: Results) -> str:
    """Everything, the samples of each run included."""
    figures = [
        {"name": figure.name, "unit": figure.unit, "samples": dict(by_server)}
        for figure, by_server in results.samples.items()
    ]
    document = {
        "when": results.when.isoformat(timespec="seconds"),
        "machine": asdict(results.machine),
        "versions": dict(results.versions),
        "settings": dict(results.settings),
        "idle_share_of_one_core": dict(results.idle),
        "notes": list(results.notes),
        "figures": figures,
        "ratios": [asdict(line) for line in compare(results)],
    }
    return json.dumps(document, indent=2)


def render_log_entry(results: Results, note: str) -> str:
    """One entry of LOG.md, in the format that its header describes."""
    machine = results.machine
    facts = {
        "machine": f"{machine.processor}, {machine.cores} cores, {machine.memory_gib:.0f} GiB,"
        f" {machine.system}",
        "versions": _listed(results.versions),
        "settings": _listed(results.settings),
        "idle": _listed({name: f"{share:.1%}" for name, share in results.idle.items()}),
    }
    lines = [f"## {results.when:%Y-%m-%d %H:%M} UTC: {note}", ""]
    lines += [f"- {name}: {text}" for name, text in facts.items() if text]
    lines += [f"- note: {text}" for text in results.notes]
    lines += ["", "| " + " | ".join(_HEADINGS) + " |", "|---" * len(_HEADINGS) + "|"]
    lines += ["| " + " | ".join(_cells(line)) + " |" for line in compare(results)]
    return "\n".join(lines) + "\n"


def append_log_entry(path: Path, entry: str) -> None:
    """Add an entry at the end of the log, where the newest one belongs."""
    before = path.read_text(encoding="utf-8").rstrip("\n")
    path.write_text(f"{before}\n\n{entry}", encoding="utf-8")


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1_000 else f"{value:.4g}"


def _listed(facts: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {text}" for name, text in facts.items())
