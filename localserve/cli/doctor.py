"""`localserve doctor`: what may keep localserve from serving here, and what mends it."""

from __future__ import annotations

import dataclasses
import json
import textwrap
from collections.abc import Sequence
from itertools import groupby

import typer

from localserve.cli.options import AsJson, Config, Offline
from localserve.cli.terminal import PIPE_WIDTH, console, errors, plain
from localserve.doctor.examine import examine
from localserve.doctor.finding import LEVELS, Finding, Level, worst

EXAMPLES = """
Looks at Python and the packages, at llama.cpp's build against the graphics
cards that are here, the settings, the API keys, the ports, the disk, the hub
and the servers that run. What is wrong comes with what to do, as a command
that can be pasted where there is one. Nothing is changed.

With a warning it serves all the same; a problem keeps something from working.

Examples:

  localserve doctor

  localserve doctor --offline   ask nothing of other machines

  localserve doctor --json | jq '.findings[] | select(.level != "ok")'

Exit status: 0 no problem (there may be warnings), 1 a problem, 2 wrong usage.
"""

STYLES: dict[Level, str] = {"ok": "green", "warning": "bold yellow", "problem": "bold red"}

INDENT = 10
"""Columns before a message: two, the longest level, one."""


def doctor(
    config: Config = None,
    offline: Offline = False,
    as_json: AsJson = False,
) -> None:
    with errors.status("examining"):
        found = examine(config, offline=offline)
    if as_json:
        typer.echo(json.dumps(document(found), indent=2))
    else:
        _print(found)
    if worst(found) == "problem":
        raise typer.Exit(1)


doctor.__doc__ = f"Find what is wrong with this installation, and how to mend it.\n{EXAMPLES}"


def document(found: Sequence[Finding]) -> dict[str, object]:
    """What `--json` prints; every key is always there."""
    return {"level": worst(found), "findings": [dataclasses.asdict(one) for one in found]}


def _print(found: Sequence[Finding]) -> None:
    for check, of_check in groupby(found, key=lambda one: one.check):
        console.print(check, style="bold")
        for one in of_check:
            _print_finding(one)
    console.print()
    console.print(plain(_summary(found)), style=STYLES[worst(found)])


def _print_finding(one: Finding) -> None:
    console.print(f"  [{STYLES[one.level]}]{one.level:7}[/]", end=" ")
    console.print(plain(_wrapped(one.message)))
    if one.advice:
        console.print(plain(" " * INDENT + _wrapped(one.advice)))
    for command in one.commands:  # never wrapped: it is to be copied
        console.print(plain(" " * INDENT + command), style="cyan")


def _wrapped(text: str) -> str:
    """The text in the terminal's width, behind the level; where there is none, one line."""
    width = console.width if console.is_terminal else PIPE_WIDTH
    lines = textwrap.wrap(
        text, max(width - INDENT, 20), break_long_words=False, break_on_hyphens=False
    )
    return f"\n{' ' * INDENT}".join(lines)


def _summary(found: Sequence[Finding]) -> str:
    counts = {level: sum(one.level == level for one in found) for level in LEVELS}
    told = [
        f"{count} {level}{'' if count == 1 else 's'}"
        for level, count in counts.items()
        if count and level != "ok"
    ]
    return ", ".join(reversed(told)) or "Nothing is wrong."
