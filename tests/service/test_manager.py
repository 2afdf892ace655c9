"""Which manager a system has, and what it makes of its tools' answers."""

from __future__ import annotations

from pathlib import Path

import pytest

from localserve.config import Settings, read_settings
from localserve.service.launchd import Launchd
from localserve.service.manager import service_manager
from localserve.service.program import Program
from localserve.service.steps import ServiceFailed
from localserve.service.systemd import Systemd
from localserve.service.windows import TaskScheduler
from tests.planner.recorded import RecordedReadings
from tests.service.recorder import Recorder

TOOLS = ("systemctl", "launchctl", "schtasks", "powershell")


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Recorder:
    recorder = Recorder(tmp_path / "bin", *TOOLS)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    return recorder


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return read_settings(environ={"LOCALSERVE_HOME": str(tmp_path / "home")})


@pytest.fixture
def readings(tmp_path: Path) -> RecordedReadings:
    return RecordedReadings(tmp_path / "machine")


def test_each_system_has_its_own(
    settings: Settings,
    readings: RecordedReadings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("HOME", "/home/ann")
    monkeypatch.setenv("USERDOMAIN", "HOST")
    monkeypatch.setenv("LOGNAME", "ann")
    found = service_manager(settings, readings)
    assert found == Systemd(tmp_path / "systemd" / "user")
    readings.system = "Darwin"
    mac = service_manager(settings, readings)
    assert isinstance(mac, Launchd)
    assert str(mac.path) == "/home/ann/Library/LaunchAgents/localserve.plist"
    readings.system = "Windows"
    assert service_manager(settings, readings) == TaskScheduler(settings.data_dir, "HOST\\ann")
    readings.system = "Plan9"
    with pytest.raises(ServiceFailed, match="Plan9"):
        service_manager(settings, readings)


def test_a_card_of_nvidia_s_is_found_on_the_bus(
    settings: Settings, readings: RecordedReadings
) -> None:
    readings.card("0000:01:00.0", "0x10de", "nvidia")
    manager = service_manager(settings, readings)
    assert isinstance(manager, Systemd)
    assert manager.nvidia


@pytest.mark.parametrize(
    ("properties", "running", "at_login", "pid", "detail"),
    [
        ("active running enabled 77 success", True, True, 77, "active running"),
        ("inactive dead enabled 0 success", False, True, None, "inactive dead"),
        ("failed failed disabled 0 exit-code", False, False, None, "failed failed, exit-code"),
        (
            "activating auto-restart enabled 0 signal",
            False,
            True,
            None,
            "activating auto-restart, signal",
        ),
    ],
)
def test_systemd_s_properties_are_a_state(
    tools: Recorder,
    tmp_path: Path,
    properties: str,
    running: bool,
    at_login: bool,
    pid: int | None,
    detail: str,
) -> None:
    names = ("ActiveState", "SubState", "UnitFileState", "MainPID", "Result")
    lines = [f"{name}={word}" for name, word in zip(names, properties.split(), strict=True)]
    tools.answer("systemctl show", "\n".join(lines))
    state = Systemd(tmp_path).state()
    assert (state.running, state.starts_at_login, state.pid) == (running, at_login, pid)
    assert (state.detail, state.installed) == (detail, False)


def test_systemd_without_a_manager_of_the_user_says_what_to_do(
    tools: Recorder, tmp_path: Path
) -> None:
    tools.answer("systemctl", "Failed to connect to bus: No medium found", status=1)
    with pytest.raises(ServiceFailed, match="No medium found") as refused:
        Systemd(tmp_path).check()
    assert "container" in refused.value.hint
    assert "No medium found" in Systemd(tmp_path).state().detail


def test_launchd_s_report_is_a_state(tools: Recorder, tmp_path: Path) -> None:
    report = "gui/501/localserve = {\n\tactive count = 1\n\tstate = running\n\n\tpid = 77\n}"
    tools.answer("launchctl print", report)
    state = Launchd(tmp_path, tmp_path / "log").state()
    assert (state.running, state.starts_at_login, state.pid) == (True, True, 77)
    assert state.detail == "running"


def test_an_agent_that_launchd_does_not_know_is_not_running(
    tools: Recorder, tmp_path: Path
) -> None:
    tools.answer("launchctl print", "Could not find service", status=113)
    state = Launchd(tmp_path, tmp_path / "log").state()
    assert (state.running, state.starts_at_login, state.detail) == (False, False, "not loaded")


@pytest.mark.parametrize(
    ("said", "status", "expected"),
    [
        ("Running", 0, (True, True, True)),
        ("Ready", 0, (True, False, True)),
        ("Disabled", 0, (True, False, False)),
        ("Get-ScheduledTask : No task", 1, (False, False, False)),
    ],
)
def test_a_task_s_state_is_one_word(
    tools: Recorder, tmp_path: Path, said: str, status: int, expected: tuple[bool, bool, bool]
) -> None:
    tools.answer("powershell", said, status)
    state = TaskScheduler(tmp_path, "ann").state()
    assert (state.installed, state.running, state.starts_at_login) == expected


def test_hints_name_secrets_and_do_not_show_them(tmp_path: Path) -> None:
    program = Program(("python",), {"LOCALSERVE_PORT": "1"}, ("HF_TOKEN",))
    for manager in (
        Systemd(tmp_path),
        Launchd(tmp_path, tmp_path / "log"),
        TaskScheduler(tmp_path, "ann"),
    ):
        assert "HF_TOKEN" in "\n".join(manager.hints(program))
