"""What an examination finds, as a value. Pure; any thread."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

Level = Literal["ok", "warning", "problem"]

LEVELS: Final[tuple[Level, ...]] = ("ok", "warning", "problem")
"""From the best to the worst."""


@dataclass(frozen=True, slots=True)
class Finding:
    """`level` is warning (it serves, but not as well as it could) or problem (something will not
    work). `advice` says what to do in words; of `commands`, each alone mends it."""

    check: str
    level: Level
    message: str
    advice: str | None = None
    commands: tuple[str, ...] = ()


def worst(findings: Iterable[Finding]) -> Level:
    """The level of the worst finding; ok if there is none."""
    return max((one.level for one in findings), key=LEVELS.index, default="ok")
