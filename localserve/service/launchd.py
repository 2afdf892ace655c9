"""An agent of macOS's launchd. The file's text is pure. Untested on a Mac.

Source: launchd.plist(5), launchctl(1).
"""

from __future__ import annotations

import os
import plistlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final

from localserve.service.program import NAME, Program
from localserve.service.state import State
from localserve.service.steps import ASK_SECONDS, Remove, Run, Step, Write, run

FILE: Final = f"{NAME}.plist"
AGAIN_SECONDS: Final = 10


@dataclass(frozen=True, slots=True)
class Launchd:
    """`log` takes what is said before the server has a log of its own."""

    folder: Path
    log: Path
    name: ClassVar[str] = "launchd"
    tested: ClassVar[bool] = False

    @property
    def path(self) -> Path:
        return self.folder / FILE

    def check(self) -> None:
        """launchd is always there; a user without a session is told by its tool."""

    def install(self, program: Program) -> tuple[Step, ...]:
        return (
            Run(("launchctl", "bootout", _target()), may_fail=True),
            Write(self.path, plist_text(program, self.log)),
            Run(("launchctl", "enable", _target()), may_fail=True),
            Run(("launchctl", "bootstrap", _domain(), str(self.path))),
        )

    def uninstall(self) -> tuple[Step, ...]:
        return (Run(("launchctl", "bootout", _target()), may_fail=True), Remove(self.path))

    def start(self) -> tuple[Step, ...]:
        return (Run(("launchctl", "kickstart", _target())),)

    def stop(self) -> tuple[Step, ...]:
        """A server that was told to stop ends with status 0, which is not started again."""
        return (Run(("launchctl", "kill", "SIGTERM", _target())),)

    def state(self) -> State:
        ended = run(("launchctl", "print", _target()), ASK_SECONDS)
        known = ended.status == 0
        state = re.search(r"^\s*state = (.+)$", ended.output, re.MULTILINE) if known else None
        pid = re.search(r"^\s*pid = (\d+)$", ended.output, re.MULTILINE) if known else None
        return State(
            manager=self.name,
            path=self.path,
            installed=self.path.exists(),
            running=pid is not None,
            starts_at_login=known,
            pid=int(pid[1]) if pid else None,
            detail=state[1] if state else "not loaded",
        )

    def hints(self, program: Program) -> Iterator[str]:
        yield f"What it says before it has a log: {self.log}"
        if program.left_out:
            yield (
                f"Secrets that are set here were not written into {FILE}:"
                f" {', '.join(program.left_out)}. If it needs them: launchctl setenv NAME VALUE,"
                " then install it again"
            )


def _domain() -> str:
    return f"gui/{os.getuid()}" if hasattr(os, "getuid") else "gui"


def _target() -> str:
    return f"{_domain()}/{NAME}"


def plist_text(program: Program, log: Path) -> str:
    """The agent's file."""
    document: dict[str, object] = {
        "Label": NAME,
        "ProgramArguments": list(program.command),
        "EnvironmentVariables": dict(program.environment),
        "RunAtLoad": True,
        "KeepAlive": {"SuccessfulExit": False},
        "ThrottleInterval": AGAIN_SECONDS,
        "ExitTimeOut": program.stop_seconds,
        # The default kind is held back in favour of programs with windows.
        "ProcessType": "Interactive",
        "StandardOutPath": "/dev/null",
        "StandardErrorPath": str(log),
        "HardResourceLimits": {"Core": 0},
        "Umask": 0o077,
    }
    return plistlib.dumps(document, sort_keys=False).decode()
