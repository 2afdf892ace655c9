"""All checks at once, each within its time. Blocking; any thread.

A check runs in a thread of its own that nobody waits for longer than its time: one that hangs (a
driver, a network drive) becomes a finding, and ends with the process.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Final

from localserve.doctor.finding import Finding
from localserve.doctor.settings import read_what_can_be
from localserve.doctor.subject import Subject
from localserve.planner.readings import Readings

Examine = Callable[[Subject], Iterable[Finding]]


@dataclass(frozen=True, slots=True)
class Check:
    """Something that is looked at: a generator of findings, and how long it may take.

    `function` is MODULE:NAME, imported when it runs: an import that fails is found, like all else.
    """

    name: str
    function: str
    seconds: float


CHECKS: Final = (
    Check("environment", "localserve.doctor.environment:check_environment", 5),
    Check("llama.cpp", "localserve.doctor.build:check_build", 20),
    Check("configuration", "localserve.doctor.configuration:check_configuration", 5),
    Check("keys", "localserve.doctor.keys:check_keys", 8),
    Check("ports", "localserve.doctor.ports:check_ports", 5),
    Check("disk", "localserve.doctor.disk:check_disk", 5),
    Check("hub", "localserve.doctor.hub:check_hub", 8),
    Check("servers", "localserve.doctor.servers:check_servers", 8),
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
    try:
        settings, found = read_what_can_be(config, environ)
    except Exception as error:
        message = f"the settings cannot be read: {type(error).__name__}: {error}"
        return (Finding("configuration", "problem", message),)
    subject = Subject(settings, readings or Readings(), offline or settings.offline)
    began = time.monotonic()
    running = [_Running(check, subject) for check in checks]
    findings = [*found, *(finding for one in running for finding in one.result(began))]
    order = [check.name for check in checks]
    return tuple(sorted(findings, key=lambda one: order.index(one.check)))


class _Running:
    """A check in a thread of its own, which ends with the process."""

    def __init__(self, check: Check, subject: Subject) -> None:
        self._check = check
        self._found: list[Finding] = []
        self._thread = threading.Thread(
            target=self._run, args=(_imported(check), subject), name=check.name, daemon=True
        )
        self._thread.start()

    def result(self, began: float) -> tuple[Finding, ...]:
        """What was found, at the latest when the check's time, since `began`, is over."""
        seconds = self._check.seconds
        self._thread.join(max(0.0, began + seconds - time.monotonic()))
        found = tuple(self._found)
        if self._thread.is_alive():
            message = f"this check did not end within {seconds:g} s"
            advice = "A driver, a disk or a network hangs; or the machine is busy: try again."
            found += (Finding(self._check.name, "warning", message, advice),)
        return found

    def _run(self, examine_subject: Examine, subject: Subject) -> None:
        try:
            for finding in examine_subject(subject):
                self._found.append(finding)
        except Exception as error:
            message = f"this check failed itself: {type(error).__name__}: {error}"
            self._found.append(Finding(self._check.name, "problem", message))


def _imported(check: Check) -> Examine:
    """On the caller's thread: modules that import each other on several would wait for ever."""
    module, _, name = check.function.partition(":")
    try:
        examine_subject: Examine = getattr(import_module(module), name)
    except Exception as error:
        message = f"{module} cannot be imported: {type(error).__name__}: {error}"
        advice = "Install localserve and its packages anew."
        failed = Finding(check.name, "problem", message, advice)
        return lambda _: (failed,)
    return examine_subject
