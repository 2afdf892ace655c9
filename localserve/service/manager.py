"""The service manager of this system."""

from __future__ import annotations

import getpass
import os
import platform
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from localserve.config import Settings
from localserve.planner.graphics import graphics_cards
from localserve.planner.nvml import Nvml
from localserve.planner.readings import Readings
from localserve.service.launchd import Launchd
from localserve.service.program import Program
from localserve.service.state import State
from localserve.service.steps import ServiceFailed, Step
from localserve.service.systemd import Systemd
from localserve.service.windows import TaskScheduler


class Manager(Protocol):
    """Who starts the service. `name` is for people, `path` its file; what is not `tested` was
    written by the manuals and tried on no such machine."""

    @property
    def name(self) -> str: ...

    @property
    def tested(self) -> bool: ...

    @property
    def path(self) -> Path: ...

    def check(self) -> None:
        """Raises: ServiceFailed, where it cannot be used here."""

    def install(self, program: Program) -> tuple[Step, ...]:
        """Installs and starts it; what is installed already is replaced."""

    def uninstall(self) -> tuple[Step, ...]:
        """Stops and removes it."""

    def start(self) -> tuple[Step, ...]: ...

    def stop(self) -> tuple[Step, ...]: ...

    def state(self) -> State:
        """Raises: ServiceFailed."""

    def hints(self, program: Program) -> Iterator[str]:
        """What a user should know once it is installed."""


def service_manager(settings: Settings, readings: Readings | None = None) -> Manager:
    """That of this system. Raises: ServiceFailed, where none is known."""
    readings = readings or Readings()
    match readings.system:
        case "Linux":
            folder = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
            units = Path(folder).expanduser() / "systemd" / "user"
            return Systemd(units, nvidia=_has_nvidia(readings))
        case "Darwin":
            library = Path("~/Library").expanduser()
            return Launchd(library / "LaunchAgents", library / "Logs" / "localserve.log")
        case "Windows":
            domain = os.environ.get("USERDOMAIN") or platform.node()
            return TaskScheduler(settings.data_dir, f"{domain}\\{getpass.getuser()}")
    raise ServiceFailed(
        f"There is no service manager known for {readings.system}.",
        hint="Let what starts your other programs run `localserve up`.",
    )


def _has_nvidia(readings: Readings) -> bool:
    """By the bus: the driver itself is not asked, which may hang."""
    cards = graphics_cards(readings, Nvml(None, None, (), ()))
    return any(card.vendor == "NVIDIA" for card in cards)
