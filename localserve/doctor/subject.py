"""What is examined: the settings that apply, and what is read of the machine."""

from __future__ import annotations

from dataclasses import dataclass

from localserve.config import Settings
from localserve.planner.readings import Readings


@dataclass(frozen=True, slots=True)
class Subject:
    """`offline` asks nothing of other machines."""

    settings: Settings
    readings: Readings
    offline: bool
