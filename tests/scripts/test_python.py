"""Which Python scripts/python picks, with fake ones on the PATH."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from tests.scripts.conftest import SCRIPTS, Tool

OLD = 'case "$*" in *version_info*) exit 1;; esac; exit 0'
WITHOUT_VENV = 'case "$*" in *ensurepip*) exit 1;; esac; exit 0'
GOOD = "exit 0"


def _python(tool: Tool, name: str, does: str) -> None:
    tool(name).write_text(f"#!/bin/sh\n{does}\n")


def _pick(**environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["/bin/bash", str(SCRIPTS / "python")],
        env={"PATH": os.environ["PATH"], **environ},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_newest_that_can_make_environments_is_picked(tool: Tool) -> None:
    _python(tool, "python3.13", WITHOUT_VENV)
    _python(tool, "python3.12", GOOD)
    _python(tool, "python3.11", GOOD)
    assert _pick().stdout == "python3.12\n"


def test_the_one_that_the_user_names_goes_first(tool: Tool, tmp_path: Path) -> None:
    _python(tool, "python3.13", GOOD)
    _python(tool, "mine", GOOD)
    assert _pick(PYTHON="mine").stdout == "mine\n"


def test_one_without_venv_is_picked_where_there_is_no_other(tool: Tool) -> None:
    _python(tool, "python3", WITHOUT_VENV)
    _python(tool, "python", OLD)
    assert _pick().stdout == "python3\n"


def test_without_a_new_enough_one_it_says_how_to_get_it(tool: Tool) -> None:
    _python(tool, "python3", OLD)
    ran = _pick()
    assert ran.returncode == 1
    assert "needs Python 3.11 or later" in ran.stderr
    assert "your system's package manager" in ran.stderr
    tool("apt")
    assert "apt install python3 python3-venv" in _pick().stderr
