"""The folders: room, and whether they can be written to."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from localserve.doctor.disk import check_disk
from localserve.doctor.finding import Finding
from localserve.doctor.subject import Subject
from localserve.planner.readings import Amounts
from tests.planner.recorded import GIB, RecordedReadings


@pytest.fixture(autouse=True)
def _room(readings: RecordedReadings, tmp_path: Path) -> None:
    readings.disks = {tmp_path: Amounts(500 * GIB, 100 * GIB)}


def found(subject: Subject) -> dict[str, Finding]:
    return {one.message.partition(":")[0]: one for one in check_disk(subject)}


def test_a_folder_that_is_not_there_yet_is_that_above_it(subject: Subject, tmp_path: Path) -> None:
    lines = found(subject)
    assert lines.keys() == {"data", "models", "cache"}
    assert lines["models"].message == (
        f"models: {tmp_path}/home/data/models (made when needed): 100.0 GiB free of 500.0 GiB"
    )
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize(
    ("free_bytes", "level"),
    [(20 * GIB, "ok"), (9 * GIB, "warning"), (GIB // 2, "problem"), (0, "problem")],
)
def test_little_room_is_a_warning_and_none_a_problem(
    subject: Subject, readings: RecordedReadings, tmp_path: Path, free_bytes: int, level: str
) -> None:
    readings.disks = {tmp_path: Amounts(500 * GIB, free_bytes)}
    models = found(subject)["models"]
    assert models.level == level
    assert ("LOCALSERVE_MODELS_DIR" in (models.advice or "")) is (level != "ok")


def test_a_disk_that_does_not_tell_is_a_warning(
    subject: Subject, readings: RecordedReadings
) -> None:
    readings.disks = {}
    assert found(subject)["data"].level == "warning"


def test_a_file_where_a_folder_should_be_is_a_problem(subject: Subject, tmp_path: Path) -> None:
    (tmp_path / "home").write_text("")
    for one in found(subject).values():
        assert (one.level, "Not a directory" in one.message) == ("problem", True)


def test_a_folder_of_its_own_is_told_by_itself(subject: Subject, tmp_path: Path) -> None:
    elsewhere = replace(subject.settings, prefixes_dir=tmp_path / "fast")
    assert "prefixes" in found(replace(subject, settings=elsewhere))


def test_a_full_disk_is_a_problem(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a full disk an empty file can be made, and nothing written."""

    @contextmanager
    def full(**_: object) -> Iterator[Any]:
        with Path("/dev/full").open("wb", buffering=0) as file:
            yield file

    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    data = found(subject)["data"]
    assert (data.level, "No space left" in data.message) == ("problem", True)


def test_a_link_that_leads_nowhere_is_a_problem(subject: Subject, tmp_path: Path) -> None:
    (tmp_path / "home").symlink_to(tmp_path / "unmounted")
    assert {one.level for one in found(subject).values()} == {"problem"}
