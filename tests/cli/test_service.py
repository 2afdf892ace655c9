"""`localserve service`: programs on PATH stand in for the system's tools."""

from __future__ import annotations

import json
import os
import plistlib
import socket
import sys
from pathlib import Path

import pytest

from localserve.planner.readings import Readings
from tests.cli.conftest import Run
from tests.service.recorder import Recorder


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Recorder:
    recorder = Recorder(tmp_path / "bin", "systemctl", "launchctl", "schtasks", "powershell")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("LOCALSERVE_PORT", "0")
    monkeypatch.setattr(Readings, "system", "Linux")
    return recorder


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    return tmp_path / "config" / "systemd" / "user" / "localserve.service"


def test_install_writes_the_unit_and_starts_it(run: Run, tools: Recorder, unit: Path) -> None:
    ran = run("service", "install", "--", "qwen3-8b", "--ctx", "4096")
    assert (ran.status, ran.err) == (0, "")
    assert "up qwen3-8b --ctx 4096\n" in unit.read_text()
    assert tools.calls == [
        "systemctl --user show --property=Version",
        "systemctl --user show localserve.service"
        " --property=LoadState,ActiveState,SubState,UnitFileState,MainPID,Result",
        "systemctl --user daemon-reload",
        "systemctl --user enable localserve.service",
        "systemctl --user reset-failed localserve.service",
        "systemctl --user restart localserve.service",
    ]
    assert "loginctl enable-linger" in ran.out
    assert "journalctl --user" in ran.out


def test_installed_again_it_is_changed(run: Run, tools: Recorder, unit: Path) -> None:
    run("service", "install", "--", "--ctx", "4096")
    assert run("service", "install", "--", "--ctx", "8192").status == 0
    assert "--ctx 8192" in unit.read_text()
    assert "4096" not in unit.read_text()


def test_a_dry_run_writes_and_runs_nothing(run: Run, tools: Recorder, unit: Path) -> None:
    for command in ("install", "uninstall"):
        ran = run("service", command, "--dry-run")
        assert ran.status == 0
        assert str(unit) in ran.out
        assert "run systemctl --user daemon-reload" in ran.out
    assert (tools.calls, unit.exists()) == ([], False)


def test_files_among_the_options_get_whole_paths(
    run: Run, tools: Recorder, unit: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("my.gguf", "my.toml"):
        (tmp_path / name).write_text("")
    run("service", "install", "--", "my.gguf", "--config", "my.toml", "--tls-key=k.pem")
    (line,) = (one for one in unit.read_text().splitlines() if one.startswith("ExecStart="))
    words = line.split(" up ")[1].split()
    assert words == [
        f"{tmp_path}/my.gguf",
        "--config",
        f"{tmp_path}/my.toml",
        f"--tls-key={tmp_path}/k.pem",
    ]


def test_options_that_up_would_refuse_install_nothing(
    run: Run, tools: Recorder, unit: Path
) -> None:
    ran = run("service", "install", "--", "--prot", "9000")
    assert (ran.status, tools.calls, unit.exists()) == (2, [], False)
    assert "--port" in ran.err


def test_settings_go_with_it_and_secrets_do_not(
    run: Run, tools: Recorder, unit: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCALSERVE_API_KEY", "a-secret-of-this-machine")
    ran = run("service", "install")
    assert f"Environment=LOCALSERVE_HOME={os.environ['LOCALSERVE_HOME']}" in unit.read_text()
    assert "a-secret" not in unit.read_text() + ran.out
    assert "LOCALSERVE_API_KEY" in ran.out


def test_without_a_manager_nothing_is_written(run: Run, tools: Recorder, unit: Path) -> None:
    tools.answer("systemctl", "Failed to connect to bus: No medium found", status=1)
    ran = run("service", "install")
    assert (ran.status, unit.exists()) == (1, False)
    assert "No medium found" in ran.err
    assert "container" in ran.err


@pytest.mark.parametrize("option", ["--port", "--also"])
def test_a_port_that_another_program_has_is_told_before_anything_is_done(
    run: Run, tools: Recorder, unit: Path, option: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = str(held.getsockname()[1])
        ran = run("service", "install", "--", option, port)
        assert (ran.status, f"ort {port}" in ran.err, unit.exists()) == (1, True, False)
        tools.answer("systemctl show localserve.service", "ActiveState=active")
        assert run("service", "install", "--", option, port).status == 0  # it is the service's own


def test_a_start_that_fails_is_told(run: Run, tools: Recorder) -> None:
    tools.answer("systemctl restart", "Job failed.", status=1)
    ran = run("service", "install")
    assert (ran.status, "Job failed." in ran.err) == (1, True)


def test_uninstall_stops_and_removes_it_and_twice_is_no_fault(
    run: Run, tools: Recorder, unit: Path
) -> None:
    run("service", "install")
    assert run("service", "uninstall").status == 0
    assert not unit.exists()
    assert tools.calls[-2:] == [
        "systemctl --user disable --now localserve.service",
        "systemctl --user daemon-reload",
    ]
    ran = run("service", "uninstall")
    assert (ran.status, "No service" in ran.out) == (0, True)


def test_status_is_for_people_programs_and_shells(run: Run, tools: Recorder, unit: Path) -> None:
    ran = run("service", "status")
    assert (ran.status, "not installed" in ran.out) == (1, True)
    run("service", "install")
    lines = "ActiveState=active\nSubState=running\nUnitFileState=enabled\nMainPID=77"
    tools.answer("systemctl show localserve.service", lines)
    ran = run("service", "status")
    assert (ran.status, ran.out.splitlines()) == (
        0,
        ["active running, process 77", "  systemd  starts at login", f"  {unit}"],
    )
    assert json.loads(run("service", "status", "--json").out) == {
        "manager": "systemd",
        "path": str(unit),
        "installed": True,
        "running": True,
        "starts_at_login": True,
        "pid": 77,
        "detail": "active running",
    }


@pytest.mark.parametrize("verb", ["start", "stop"])
def test_it_is_started_and_stopped_once_it_is_installed(
    run: Run, tools: Recorder, verb: str
) -> None:
    ran = run("service", verb)
    assert (ran.status, "service install" in ran.err) == (1, True)
    run("service", "install")
    assert run("service", verb).status == 0
    assert tools.calls[-1] == f"systemctl --user {verb} localserve.service"


def test_on_a_mac_it_is_an_agent_and_untested(
    run: Run, tools: Recorder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(Readings, "system", "Darwin")
    ran = run("service", "install", "--", "--ctx", "4096")
    assert (ran.status, "untested" in ran.err) == (0, True)
    path = tmp_path / "user" / "Library" / "LaunchAgents" / "localserve.plist"
    assert plistlib.loads(path.read_bytes())["ProgramArguments"][-2:] == ["--ctx", "4096"]
    assert tools.calls[-1] == f"launchctl bootstrap gui/{os.getuid()} {path}"
    assert run("service", "uninstall").status == 0
    assert not path.exists()


def test_on_windows_it_is_a_task_and_untested(
    run: Run, tools: Recorder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(Readings, "system", "Windows")
    ran = run("service", "install")
    assert (ran.status, "untested" in ran.err) == (0, True)
    path = tmp_path / "home" / "data" / "localserve.xml"
    assert sys.executable in path.read_text("utf-16")
    assert tools.calls[-2:] == [
        f"schtasks /Create /TN localserve /XML {path} /F",
        "schtasks /Run /TN localserve",
    ]
    assert run("service", "uninstall").status == 0
    assert "schtasks /Delete /TN localserve /F" in tools.calls
