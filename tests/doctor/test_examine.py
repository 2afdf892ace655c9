"""All checks together: none fails or hangs the examination."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from localserve.doctor.examine import CHECKS, Check, examine
from localserve.doctor.finding import Finding, worst
from localserve.doctor.subject import Subject
from tests.planner.recorded import RecordedReadings

HERE = __name__
release = threading.Event()


def good(subject: Subject) -> Iterator[Finding]:
    yield Finding("good", "ok", f"offline {subject.offline}")


def failing(subject: Subject) -> Iterator[Finding]:
    yield Finding("failing", "ok", "one")
    raise RuntimeError("a driver")


def hanging(subject: Subject) -> Iterator[Finding]:
    yield Finding("hanging", "ok", "one")
    release.wait()


@pytest.fixture(autouse=True)
def _released() -> Iterator[None]:
    release.clear()
    yield
    release.set()


def run(
    readings: RecordedReadings, tmp_path: Path, *checks: str, seconds: float = 60
) -> list[tuple[str, str, str]]:
    environ = {"LOCALSERVE_HOME": str(tmp_path)}
    chosen = [Check(name.rpartition(":")[2], name, seconds) for name in checks]
    found = examine(readings=readings, environ=environ, checks=chosen)
    return [(one.check, one.level, one.message) for one in found]


def test_a_check_that_fails_is_a_line_after_what_it_found(
    readings: RecordedReadings, tmp_path: Path
) -> None:
    assert run(readings, tmp_path, f"{HERE}:failing", f"{HERE}:good") == [
        ("failing", "ok", "one"),
        ("failing", "problem", "this check failed itself: RuntimeError: a driver"),
        ("good", "ok", "offline False"),
    ]


def test_a_check_that_hangs_is_a_line(readings: RecordedReadings, tmp_path: Path) -> None:
    found = run(readings, tmp_path, f"{HERE}:hanging", seconds=0.05)
    assert found == [("hanging", "warning", "this check did not end within 0.05 s")] or found == [
        ("hanging", "ok", "one"),
        ("hanging", "warning", "this check did not end within 0.05 s"),
    ]


def test_a_module_that_cannot_be_imported_is_a_line(
    readings: RecordedReadings, tmp_path: Path
) -> None:
    found = run(readings, tmp_path, "localserve.doctor.absent:check", f"{HERE}:good")
    assert [level for _, level, _ in found] == ["problem", "ok"]
    assert "No module named" in found[0][2]


def test_wrong_settings_stand_with_the_configuration(
    readings: RecordedReadings, tmp_path: Path
) -> None:
    environ = {"LOCALSERVE_HOME": str(tmp_path), "LOCALSERVE_PORT": "x", "LOCALSERVE_OFFLINE": "1"}
    found = examine(readings=readings, environ=environ)
    checks = list(dict.fromkeys(one.check for one in found))
    assert checks == [check.name for check in CHECKS]
    wrong = [one for one in found if one.level == "problem" and "LOCALSERVE_PORT" in one.message]
    assert [one.check for one in wrong] == ["configuration"]
    hub = next(one for one in found if one.check == "hub")
    assert "offline" in hub.message


def test_settings_that_cannot_be_read_at_all_are_a_line(
    readings: RecordedReadings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("no home")

    monkeypatch.setattr("localserve.doctor.examine.read_what_can_be", fail)
    (one,) = examine(readings=readings)
    assert (one.check, one.level, "no home" in one.message) == ("configuration", "problem", True)


def test_the_worst_finding_counts() -> None:
    ok, warning = Finding("a", "ok", "x"), Finding("a", "warning", "x")
    assert worst([]) == "ok"
    assert worst([warning, ok]) == "warning"
    assert worst([warning, Finding("a", "problem", "x"), ok]) == "problem"
