"""What an examination finds, as a value. Pure; any thread."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

Level = Literal["ok", "warning", "problem"]

STATUSES: Final[dict[Level, int]] = {"ok": 0, "warning": 1, "problem": 2}
"""Exit statuses, from the best to the worst."""


@dataclass(frozen=True, slots=True)
class Finding:
    """`level` is warning (it serves, but not as well as it could) or problem (something will not
    work). `remedy` says what to do: a command, or a sentence."""

    check: str
    level: Level
    message: str
    remedy: str | None = None


def exit_status(findings: Iterable[Finding]) -> int:
    """That of the worst finding: 0 ok, 1 warning, 2 problem."""
    return max((STATUSES[one.level] for one in findings), default=0)
