"""The agent of launchd, as plistlib reads it."""

from __future__ import annotations

import plistlib
from pathlib import Path

from localserve.service.launchd import plist_text
from localserve.service.program import Program

PROGRAM = Program(
    ("/env/bin/python", "-m", "localserve", "up", 'a <b> & "c"', "日本"),
    {"LOCALSERVE_HOME": "/a b"},
    stop_seconds=42,
)


def test_it_says_what_to_run_and_when_again() -> None:
    found = plistlib.loads(plist_text(PROGRAM, Path("/logs/x.log")).encode())
    assert found["Label"] == "localserve"
    assert found["ProgramArguments"] == list(PROGRAM.command)
    assert found["EnvironmentVariables"] == {"LOCALSERVE_HOME": "/a b"}
    assert found["RunAtLoad"] is True
    assert found["KeepAlive"] == {"SuccessfulExit": False}
    assert found["ExitTimeOut"] == 42
    assert found["StandardErrorPath"] == "/logs/x.log"
