"""The unit of systemd: its text, and what systemd itself says of it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from localserve.service.program import Program
from localserve.service.systemd import Systemd, unit_text

PYTHON = sys.executable
PLAIN = Program((PYTHON, "-P", "-m", "localserve", "up"))
AWKWARD = Program(
    (PYTHON, "-m", "x", 'a "b"', "50%", "$HOME", "a;b", "", "it's", "back\\slash", "日本"),
    {"LOCALSERVE_HOME": '/a b/50%/"q"/$x', "EMPTY": "x"},
    stop_seconds=77,
)


def lines(program: Program, *, nvidia: bool = False) -> list[str]:
    return unit_text(program, nvidia=nvidia).splitlines()


def test_it_is_started_again_on_failure_and_not_on_wrong_usage() -> None:
    found = lines(PLAIN)
    for line in ("Restart=on-failure", "RestartPreventExitStatus=2", "StartLimitBurst=5"):
        assert line in found


def test_it_may_end_its_answers_and_its_worker_by_itself() -> None:
    found = lines(AWKWARD)
    assert "KillMode=mixed" in found
    assert "TimeoutStopSec=77" in found


def test_words_are_quoted_as_systemd_reads_them() -> None:
    (line,) = (line for line in lines(AWKWARD) if line.startswith("ExecStart="))
    assert line == (
        f'ExecStart={PYTHON} -m x "a \\"b\\"" 50%% $$HOME "a;b" "" "it\'s" "back\\\\slash" 日本'
    )
    assert 'Environment="LOCALSERVE_HOME=/a b/50%%/\\"q\\"/$x"' in lines(AWKWARD)


def test_nothing_keeps_a_graphics_card_away() -> None:
    text = unit_text(PLAIN) + unit_text(PLAIN, nvidia=True)
    for option in ("PrivateDevices", "DevicePolicy", "MemoryDenyWriteExecute", "ProtectHome"):
        assert option not in text
    assert "NoNewPrivileges=yes" in unit_text(PLAIN)
    assert "NoNewPrivileges=" not in unit_text(PLAIN, nvidia=True)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not here")
@pytest.mark.parametrize("nvidia", [False, True])
@pytest.mark.parametrize("program", [PLAIN, AWKWARD])
def test_systemd_finds_no_fault_in_it(tmp_path: Path, program: Program, nvidia: bool) -> None:
    unit = tmp_path / "localserve.service"
    unit.write_text(unit_text(program, nvidia=nvidia))
    ended = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", str(unit)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert [line for line in ended.stderr.splitlines() if "localserve" in line] == []


def test_the_hint_at_lingering_ends_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("USER", "ann")
    manager = Systemd(tmp_path, lingering=tmp_path)
    assert "loginctl enable-linger" in "\n".join(manager.hints(PLAIN))
    (tmp_path / "ann").touch()
    assert "linger" not in "\n".join(manager.hints(PLAIN))
