"""What was measured as a table of its own: for a terminal, as JSON and as an entry of LOG.md.

For benchmarks that are more than one figure against another (those are report.py's). Knows nothing
of how anything came about.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from benchmarks.machine import Machine, busy_share, read_commit, read_machine, read_version
from benchmarks.report import append_log_entry

LOG = Path(__file__).with_name("LOG.md")
_TABLE_WIDTH = 132
_BUSY_SHARE = 0.10


@dataclass(frozen=True, slots=True)
class Section:
    """A table: its rows have as many cells as it has headings."""

    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    title: str = ""


@dataclass(frozen=True, slots=True)
class Findings:
    """All that one benchmark found. `samples` is everything measured, for programs."""

    settings: Mapping[str, str]
    sections: tuple[Section, ...]
    samples: object
    notes: tuple[str, ...] = ()
    when: datetime = field(default_factory=lambda: datetime.now(UTC))
    machine: Machine = field(default_factory=read_machine)
    versions: Mapping[str, str] = field(default_factory=lambda: own_versions())


def own_versions() -> dict[str, str]:
    """Of localserve and what it computes with."""
    return {
        "localserve": f"{read_version('localserve')} ({read_commit()})",
        "llama-cpp-python": read_version("llama-cpp-python"),
    }


def busy_notes() -> tuple[str, ...]:
    """A warning where the machine has other work, which it takes two seconds to see."""
    busy = busy_share(2.0)
    if busy <= _BUSY_SHARE:
        return ()
    return (f"the machine was {busy:.0%} busy before anything was started: this says little",)


def show(findings: Findings, *, json_output: bool, log: str | None) -> None:
    """Print everything, and add an entry to the log if there is a note for it."""
    console = Console(stderr=True)
    table_console = Console(stderr=json_output)
    table_console.width = max(table_console.width, _TABLE_WIDTH)
    for section in findings.sections:
        table = Table(title=section.title or None, box=SIMPLE_HEAD)
        for number, heading in enumerate(section.headings):
            table.add_column(heading, justify="right" if number else "left", no_wrap=True)
        for row in section.rows:
            table.add_row(*row)
        table_console.print(table)
    for note in findings.notes:
        console.print(note, style="yellow", highlight=False, markup=False)
    if json_output:
        print(render_json(findings))
    if log is not None:
        append_log_entry(LOG, render_log_entry(findings, log))
        console.print(f"added to {LOG}")


def render_json(findings: Findings) -> str:
    """Everything, each sample included."""
    document = {
        "when": findings.when.isoformat(timespec="seconds"),
        "machine": asdict(findings.machine),
        "versions": dict(findings.versions),
        "settings": dict(findings.settings),
        "notes": findings.notes,
        "samples": findings.samples,
    }
    return json.dumps(document, indent=2)


def render_log_entry(findings: Findings, note: str) -> str:
    """One entry of LOG.md."""
    machine = findings.machine
    lines = [
        f"## {findings.when:%Y-%m-%d %H:%M} UTC: {note}",
        "",
        f"- machine: {machine.processor}, {machine.cores} cores, {machine.memory_gib:.0f} GiB,"
        f" {machine.system}",
        f"- versions: {_listed(findings.versions)}",
        f"- settings: {_listed(findings.settings)}",
        *(f"- note: {text}" for text in findings.notes),
    ]
    for section in findings.sections:
        lines.append("")
        if section.title:
            lines += [f"{section.title[0].upper()}{section.title[1:]}:", ""]
        lines += [_line(section.headings), "|---" * len(section.headings) + "|"]
        lines += [_line(row) for row in section.rows]
    return "\n".join(lines) + "\n"


def _line(cells: tuple[str, ...]) -> str:
    return "| " + " | ".join(cells) + " |"


def _listed(facts: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {text}" for name, text in facts.items())
