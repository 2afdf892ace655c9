"""The task of the Task Scheduler, as an XML parser reads it."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from localserve.service.program import Program
from localserve.service.steps import Write, carry_out
from localserve.service.windows import NAMESPACE, TaskScheduler, task_text

PYTHON = r"C:\env <1>\Scripts\python.exe"
PROGRAM = Program((PYTHON, "-m", "localserve", "up", r"C:\my models\a & b.gguf", "--port", "1"))


def found(text: str) -> dict[str, str | None]:
    """The texts of all elements by their names."""
    root = ElementTree.fromstring(text.partition("\n")[2])
    assert root.tag == f"{{{NAMESPACE}}}Task"
    return {one.tag.partition("}")[2]: one.text for one in root.iter()}


def test_it_says_what_to_run_for_whom_and_when_again() -> None:
    task = found(task_text(PROGRAM, "HOST\\ann"))
    assert task["Command"] == r"C:\env <1>\Scripts\pythonw.exe"
    assert task["Arguments"] == r'-m localserve up "C:\my models\a & b.gguf" --port 1'
    assert (task["UserId"], task["RunLevel"]) == ("HOST\\ann", "LeastPrivilege")
    assert (task["Interval"], task["Count"]) == ("PT1M", "10")
    assert task["ExecutionTimeLimit"] == "PT0S"
    assert task["StopIfGoingOnBatteries"] == "false"


def test_it_has_elements_in_the_order_of_the_schema() -> None:
    """RegistrationInfo, Triggers, Principals, Settings, Actions."""
    root = ElementTree.fromstring(task_text(PROGRAM, "ann").partition("\n")[2])
    assert [one.tag.partition("}")[2] for one in root] == [
        "RegistrationInfo",
        "Triggers",
        "Principals",
        "Settings",
        "Actions",
    ]


def test_the_file_is_in_the_encoding_that_it_says(tmp_path: Path) -> None:
    write = TaskScheduler(tmp_path, "ann").install(PROGRAM)[0]
    assert isinstance(write, Write)
    carry_out([write])
    assert ElementTree.parse(write.path).getroot().tag.endswith("Task")


@pytest.mark.parametrize("python", ["/usr/bin/python", r"C:\env\pythonw.exe", "uv-python.exe.bak"])
def test_other_programs_are_run_as_they_are(python: str) -> None:
    assert found(task_text(Program((python, "-m", "x")), "ann"))["Command"] == python
