"""A task of Windows' Task Scheduler. The file's text is pure. Untested on Windows.

Source: Microsoft's 'Task Scheduler Schema', and the help of schtasks.
"""

from __future__ import annotations

import subprocess
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final

from localserve.service.program import NAME, Program
from localserve.service.state import State
from localserve.service.steps import ASK_SECONDS, Remove, Run, Step, Write, run

FILE: Final = f"{NAME}.xml"
NAMESPACE: Final = "http://schemas.microsoft.com/windows/2004/02/mit/task"
AGAIN: Final = {"Interval": "PT1M", "Count": "10"}

STATE_COMMAND: Final = f"(Get-ScheduledTask -TaskName {NAME}).State"


@dataclass(frozen=True, slots=True)
class TaskScheduler:
    """`user` is DOMAIN\\NAME of whom it starts for."""

    folder: Path
    user: str
    name: ClassVar[str] = "Task Scheduler"
    tested: ClassVar[bool] = False

    @property
    def path(self) -> Path:
        return self.folder / FILE

    def check(self) -> None:
        """The Task Scheduler is always there."""

    def install(self, program: Program) -> tuple[Step, ...]:
        create = ("schtasks", "/Create", "/TN", NAME, "/XML", str(self.path), "/F")
        return (
            Write(self.path, task_text(program, self.user), "utf-16"),
            Run(("schtasks", "/End", "/TN", NAME), may_fail=True),
            Run(create),
            *self.start(),
        )

    def uninstall(self) -> tuple[Step, ...]:
        return (
            Run(("schtasks", "/End", "/TN", NAME), may_fail=True),
            Run(("schtasks", "/Delete", "/TN", NAME, "/F"), may_fail=True),
            Remove(self.path),
        )

    def start(self) -> tuple[Step, ...]:
        return (Run(("schtasks", "/Run", "/TN", NAME)),)

    def stop(self) -> tuple[Step, ...]:
        return (Run(("schtasks", "/End", "/TN", NAME)),)

    def state(self) -> State:
        ended = run(("powershell", "-NoProfile", "-Command", STATE_COMMAND), ASK_SECONDS)
        word = ended.output.strip().splitlines()[-1:] if ended.status == 0 else []
        return State(
            manager=self.name,
            path=self.path,
            installed=bool(word),
            running=word == ["Running"],
            starts_at_login=bool(word) and word != ["Disabled"],
            pid=None,
            detail=word[0] if word else "not there",
        )

    def hints(self, program: Program) -> Iterator[str]:
        yield "Its log: localserve logs --follow"
        names = [*program.environment, *program.left_out]
        if names:
            yield (
                f"A task has no variables of its own: {', '.join(names)} must be your account's."
                " setx NAME VALUE sets one for all programs that start afterwards"
            )


def task_text(program: Program, user: str) -> str:
    """The task's file. It starts when its user logs in, without a window."""
    task = ElementTree.Element("Task", version="1.2", xmlns=NAMESPACE)
    about = ElementTree.SubElement(task, "RegistrationInfo")
    _add(about, {"Description": "localserve, an inference server for this machine"})
    trigger = ElementTree.SubElement(ElementTree.SubElement(task, "Triggers"), "LogonTrigger")
    _add(trigger, {"Enabled": "true", "UserId": user})
    principals = ElementTree.SubElement(task, "Principals")
    principal = ElementTree.SubElement(principals, "Principal", id="Author")
    _add(
        principal,
        {"UserId": user, "LogonType": "InteractiveToken", "RunLevel": "LeastPrivilege"},
    )
    settings = ElementTree.SubElement(task, "Settings")
    _add(
        settings,
        {
            "MultipleInstancesPolicy": "IgnoreNew",
            "DisallowStartIfOnBatteries": "false",
            "StopIfGoingOnBatteries": "false",
            "ExecutionTimeLimit": "PT0S",
            "Enabled": "true",
        },
    )
    _add(ElementTree.SubElement(settings, "RestartOnFailure"), AGAIN)
    actions = ElementTree.SubElement(task, "Actions", Context="Author")
    executable, *arguments = program.command
    _add(
        ElementTree.SubElement(actions, "Exec"),
        {"Command": _windowless(executable), "Arguments": subprocess.list2cmdline(arguments)},
    )
    ElementTree.indent(task)
    return f'<?xml version="1.0" encoding="UTF-16"?>\n{ElementTree.tostring(task, "unicode")}\n'


def _add(parent: ElementTree.Element, texts: dict[str, str]) -> None:
    for name, text in texts.items():
        ElementTree.SubElement(parent, name).text = text


def _windowless(executable: str) -> str:
    """pythonw.exe, which opens no console, stands beside every python.exe."""
    head, _, tail = executable.rpartition("python.exe")
    return f"{head}pythonw.exe" if tail == "" and executable.endswith("python.exe") else executable
