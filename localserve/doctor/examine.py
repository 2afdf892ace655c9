"""All checks at once, each within its time. Blocking; any thread.

A check runs in a thread of its own that nobody waits for longer than its time: one that hangs (a
driver, a network drive) becomes a finding, and ends with the process.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from localserve.doctor.build import check_build
from localserve.doctor.configuration import check_configuration, read_configuration
from localserve.doctor.disk import check_disk
from localserve.doctor.environment import check_environment
from localserve.doctor.finding import Finding
from localserve.doctor.hub import check_hub
from localserve.doctor.ports import check_ports
from localserve.doctor.servers import check_servers
from localserve.doctor.stores import check_stores
from localserve.doctor.subject import Subject
from localserve.planner.readings import Readings


@dataclass(frozen=True, slots=True)
class Check:
    """Something that is looked at; `seconds` is how long that may take."""

    name: str
    examine: Callable[[Subject], Iterable[Finding]]
    seconds: float


CHECKS: Final = (
    Check("environment", check_environment, 10),
    Check("llama.cpp", check_build, 45),
    Check("configuration", check_configuration, 10),
    Check("ports", check_ports, 10),
    Check("disk", check_disk, 10),
    Check("stores", check_stores, 10),
    Check("hub", check_hub, 15),
    Check("servers", check_servers, 10),
)
"""All checks, in the order in which they are told."""


def examine(
    config: Path | None = None,
    *,
    offline: bool = False,
    readings: Readings | None = None,
    environ: Mapping[str, str] | None = None,
    checks: Sequence[Check] = CHECKS,
) -> tuple[Finding, ...]:
    """Everything that is found, by check. Raises nothing: what cannot be examined is a finding."""
    settings, found = read_configuration(config, environ)
    subject = Subject(settings, readings or Readings(), offline or settings.offline)
    began = time.monotonic()
    running = [_Running(check, subject) for check in checks]
    findings = [one.result(began) for one in running]
    return (*found, *(finding for result in findings for finding in result))


@dataclass(slots=True)
class _Running:
    check: Check
    subject: Subject
    _found: tuple[Finding, ...] = ()
    _thread: threading.Thread = field(init=False)

    def __post_init__(self) -> None:
        self._thread = threading.Thread(target=self._run, name=self.check.name, daemon=True)
        self._thread.start()

    def result(self, began: float) -> tuple[Finding, ...]:
        """What was found, at the latest when the check's time, since `began`, is over."""
        check = self.check
        self._thread.join(max(0.0, began + check.seconds - time.monotonic()))
        if self._thread.is_alive():
            message = f"this check did not end within {check.seconds:g} s"
            return (Finding(check.name, "warning", message, "Try again when less is going on."),)
        return self._found

    def _run(self) -> None:
        try:
            self._found = tuple(self.check.examine(self.subject))
        except Exception as error:
            message = f"this check failed itself: {type(error).__name__}: {error}"
            self._found = (Finding(self.check.name, "problem", message),)
