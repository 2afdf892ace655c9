"""Predicted beside measured speed, as a table, as JSON and as an entry of LOG.md. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from statistics import median

from rich.box import SIMPLE_HEAD
from rich.table import Table

from benchmarks.machine import Machine

BUSY_SHARE = 0.1
"""A machine that works more than this beside the benchmark is not idle."""

GOAL_AFTER = 0.10


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds per token of the answer, and to the first token of the prompt."""

    token: float
    first: float


@dataclass(frozen=True, slots=True)
class Sample:
    """One quantization in one round. `after` is None before anything was learned; `busy` is the
    share of all processors that others used just before."""

    quantization: str
    round: int
    busy: float
    before: Times
    measured: Times
    after: Times | None


@dataclass(frozen=True, slots=True)
class Report:
    """All samples, and where and how they were taken."""

    when: datetime
    machine: Machine
    versions: Mapping[str, str]
    settings: Mapping[str, str]
    samples: tuple[Sample, ...]

    @property
    def notes(self) -> list[str]:
        """What makes the figures doubtful."""
        busy = [sample.busy for sample in self.samples if sample.busy > BUSY_SHARE]
        if not busy:
            return []
        return [
            f"the machine was not idle: other programs took up to {max(busy):.0%} of all"
            f" processors before {len(busy)} of {len(self.samples)} measurements, so these"
            " figures say little"
        ]


@dataclass(frozen=True, slots=True)
class Figure:
    """What is predicted: how it is read from times, and how far off it may be before it is
    calibrated."""

    name: str
    unit: str
    read: Callable[[Times], float]
    goal_before: float


FIGURES = (
    Figure("decode", "tok/s", lambda times: 1 / times.token, 0.20),
    Figure("first token", "s", lambda times: times.first, 0.30),
)


@dataclass(frozen=True, slots=True)
class Line:
    """One figure of one quantization: medians over the rounds.

    Errors are medians of predicted over measured in the same round, less 1. `after` and
    `error_after`, over the rounds that came after the first answer, are None if there were none.
    """

    quantization: str
    figure: str
    unit: str
    before: float
    measured: float
    after: float | None
    error_before: float
    error_after: float | None
    worst_after: float | None
    goal_before: float

    @property
    def met(self) -> bool:
        """Whether both predictions are as near as they shall be."""
        after = self.error_after
        return abs(self.error_before) <= self.goal_before and (
            after is not None and abs(after) <= GOAL_AFTER
        )


def lines(samples: Sequence[Sample]) -> Iterator[Line]:
    """The report, one quantization after the other."""
    for quantization in dict.fromkeys(sample.quantization for sample in samples):
        own = [sample for sample in samples if sample.quantization == quantization]
        for figure in FIGURES:
            yield _line(quantization, figure, own)


def _line(quantization: str, figure: Figure, own: Sequence[Sample]) -> Line:
    read = figure.read
    before = [read(sample.before) / read(sample.measured) - 1 for sample in own]
    after = [
        (read(sample.after), read(sample.after) / read(sample.measured) - 1)
        for sample in own
        if sample.after is not None
    ]
    return Line(
        quantization=quantization,
        figure=figure.name,
        unit=figure.unit,
        before=median(read(sample.before) for sample in own),
        measured=median(read(sample.measured) for sample in own),
        after=median(value for value, _ in after) if after else None,
        error_before=median(before),
        error_after=median(error for _, error in after) if after else None,
        worst_after=max((error for _, error in after), key=abs) if after else None,
        goal_before=figure.goal_before,
    )


_HEADINGS = ("model", "figure", "before", "measured", "after", "error before", "error after", "")


def _cells(line: Line) -> tuple[str, ...]:
    after = "-" if line.after is None else f"{line.after:.4g}"
    error_after = "-"
    if line.error_after is not None and line.worst_after is not None:
        error_after = f"{line.error_after:+.1%} (worst {line.worst_after:+.1%})"
    return (
        line.quantization,
        f"{line.figure} ({line.unit})",
        f"{line.before:.4g}",
        f"{line.measured:.4g}",
        after,
        f"{line.error_before:+.1%}",
        error_after,
        f"within {line.goal_before:.0%} and {GOAL_AFTER:.0%}: {'met' if line.met else 'missed'}",
    )


def render_table(report: Report) -> Table:
    """The lines for a terminal."""
    table = Table(title="speed as predicted before and after calibration", box=SIMPLE_HEAD)
    for number, heading in enumerate(_HEADINGS):
        table.add_column(heading, justify="right" if 2 <= number <= 5 else "left", no_wrap=True)
    for line in lines(report.samples):
        table.add_row(*_cells(line), style=None if line.met else "red")
    return table


def render_json(report: Report) -> str:
    """Everything, each sample included; seconds, and shares for errors."""
    document = {
        "when": report.when.isoformat(timespec="seconds"),
        "machine": asdict(report.machine),
        "versions": dict(report.versions),
        "settings": dict(report.settings),
        "notes": report.notes,
        "figures": [{**asdict(line), "met": line.met} for line in lines(report.samples)],
        "samples": [asdict(sample) for sample in report.samples],
    }
    return json.dumps(document, indent=2)


def render_log_entry(report: Report, note: str) -> str:
    """One entry of LOG.md."""
    machine = report.machine
    entry = [
        f"## {report.when:%Y-%m-%d %H:%M} UTC: {note}",
        "",
        f"- machine: {machine.processor}, {machine.cores} cores, {machine.memory_gib:.0f} GiB,"
        f" {machine.system}",
        *(
            f"- {name}: {', '.join(f'{key} {value}' for key, value in facts.items())}"
            for name, facts in (("versions", report.versions), ("settings", report.settings))
        ),
        *(f"- note: {text}" for text in report.notes),
        "",
        "| " + " | ".join(_HEADINGS) + " |",
        "|---" * len(_HEADINGS) + "|",
        *("| " + " | ".join(_cells(line)) + " |" for line in lines(report.samples)),
    ]
    return "\n".join(entry) + "\n"
