from __future__ import annotations

from pathlib import Path

import pytest

from localserve.config import Settings, read_settings
from localserve.doctor.subject import Subject
from tests.planner.recorded import RecordedReadings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Of a home that does not exist yet, on any free port."""
    environ = {"LOCALSERVE_HOME": str(tmp_path / "home"), "LOCALSERVE_PORT": "0"}
    return read_settings(environ=environ)


@pytest.fixture
def readings(tmp_path: Path) -> RecordedReadings:
    return RecordedReadings(tmp_path / "machine")


@pytest.fixture
def subject(settings: Settings, readings: RecordedReadings) -> Subject:
    """A healthy machine without graphics."""
    return Subject(settings, readings, offline=True)
