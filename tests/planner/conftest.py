from __future__ import annotations

from pathlib import Path

import pytest

from tests.planner.recorded import RecordedReadings


@pytest.fixture
def readings(tmp_path: Path) -> RecordedReadings:
    return RecordedReadings(tmp_path / "machine")
