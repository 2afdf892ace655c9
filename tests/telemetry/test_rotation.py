"""Log files that are put aside, compressed and deleted; what fails costs no more than a line."""

from __future__ import annotations

import gzip
import os
import time
from pathlib import Path

import pytest

from localserve.telemetry import rotation
from localserve.telemetry.rotation import RotatingFile, last_lines, old_files

DAY = 86_400.0
NOON = time.mktime((2026, 11, 26, 12, 0, 0, 0, 0, -1))


class Clock:
    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def opened(
    tmp_path: Path, clock: Clock, *, max_bytes: int = 100, keep_days: int = 3
) -> RotatingFile:
    return RotatingFile(
        tmp_path / "logs" / "server.log", max_bytes=max_bytes, keep_days=keep_days, clock=clock
    )


def names(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "logs").iterdir())


def unpacked(path: Path) -> str:
    with gzip.open(path, "rt") as stream:
        return stream.read()


def test_a_full_file_is_put_aside_compressed_and_nothing_is_lost(
    tmp_path: Path, clock: Clock
) -> None:
    file = opened(tmp_path, clock)
    lines = [f"line number {number}" for number in range(20)]
    for line in lines:
        file.write(line)
    file.close()
    *old, current = [*old_files(tmp_path / "logs" / "server.log"), None]
    assert current is None
    assert [path.name for _, _, path in old] == [
        f"server.log.2026-11-26-{number:03}.gz" for number in range(1, len(old) + 1)
    ]
    assert len(old) >= 2
    text = "".join(unpacked(path) for _, _, path in old)
    text += (tmp_path / "logs" / "server.log").read_text()
    assert text.splitlines() == lines
    assert all(len(unpacked(path)) <= 100 for _, _, path in old)


def test_each_day_has_its_own_file(tmp_path: Path, clock: Clock) -> None:
    file = opened(tmp_path, clock, max_bytes=10_000)
    file.write("monday")
    clock.now += DAY
    file.write("tuesday")
    file.write("tuesday, too")
    file.close()
    assert names(tmp_path) == ["server.log", "server.log.2026-11-26-001.gz"]
    assert unpacked(tmp_path / "logs" / "server.log.2026-11-26-001.gz") == "monday\n"
    assert (tmp_path / "logs" / "server.log").read_text() == "tuesday\ntuesday, too\n"


def test_a_server_started_the_next_day_puts_the_old_file_aside(
    tmp_path: Path, clock: Clock
) -> None:
    file = opened(tmp_path, clock, max_bytes=10_000)
    file.write("yesterday")
    file.close()
    os.utime(tmp_path / "logs" / "server.log", (clock.now, clock.now))
    clock.now += DAY
    again = opened(tmp_path, clock, max_bytes=10_000)
    again.write("today")
    again.close()
    assert names(tmp_path) == ["server.log", "server.log.2026-11-26-001.gz"]
    assert (tmp_path / "logs" / "server.log").read_text() == "today\n"


def test_what_is_too_old_or_too_much_is_deleted(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = opened(tmp_path, clock, max_bytes=10_000)
    for number in range(8):
        file.write(f"day {number}")
        clock.now += DAY
    file.close()
    days = [day for day, _, _ in old_files(tmp_path / "logs" / "server.log")]
    assert days == ["2026-11-30", "2026-12-01", "2026-12-02"]
    other = tmp_path / "logs" / "server.log.notes"
    other.write_text("somebody else's")
    monkeypatch.setattr(rotation, "MOST_OLD_FILES", 2)
    again = opened(tmp_path, clock, max_bytes=10_000)
    again.write("more")
    again.close()
    assert len(old_files(tmp_path / "logs" / "server.log")) == 2
    assert other.exists()


def test_a_clock_that_jumps_back_overwrites_nothing(tmp_path: Path, clock: Clock) -> None:
    file = opened(tmp_path, clock)
    for number in range(12):
        file.write(f"line number {number:04}")
    clock.now -= 2 * DAY
    for number in range(12, 24):
        file.write(f"line number {number:04}")
    clock.now += 2 * DAY
    for number in range(24, 36):
        file.write(f"line number {number:04}")
    file.close()
    texts = [unpacked(path) for _, _, path in old_files(tmp_path / "logs" / "server.log")]
    texts.append((tmp_path / "logs" / "server.log").read_text())
    found = sorted("".join(texts).splitlines())
    assert found == [f"line number {number:04}" for number in range(36)]


def test_what_a_crash_left_is_finished_at_the_next_start(tmp_path: Path, clock: Clock) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    (folder / "server.log.2026-11-26-001").write_text("renamed, not compressed\n")
    (folder / "server.log.2026-11-26-001.gz.part").write_bytes(b"half")
    file = opened(tmp_path, clock)
    file.write("new")
    file.close()
    assert names(tmp_path) == ["server.log", "server.log.2026-11-26-001.gz"]
    assert unpacked(folder / "server.log.2026-11-26-001.gz") == "renamed, not compressed\n"


def test_a_file_that_cannot_be_compressed_stays_as_it_is(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object, **options: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(rotation.shutil, "copyfileobj", full)
    file = opened(tmp_path, clock)
    for number in range(8):
        file.write(f"line number {number}")
    assert "server.log.2026-11-26-001" in names(tmp_path)
    assert not [name for name in names(tmp_path) if name.endswith(".part")]
    monkeypatch.undo()
    clock.now += DAY
    file.write("next day")
    file.close()
    assert all(path.suffix == ".gz" for _, _, path in old_files(tmp_path / "logs" / "server.log"))


def test_a_file_that_cannot_be_renamed_goes_on_and_is_tried_again_later(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = []

    def refused(*arguments: object) -> None:
        tried.append(arguments)
        raise PermissionError(13, "held open by another program")

    monkeypatch.setattr(rotation.os, "rename", refused)
    file = opened(tmp_path, clock)
    for number in range(20):
        file.write(f"line number {number}")
    assert len(tried) == 1
    assert names(tmp_path) == ["server.log"]
    monkeypatch.undo()
    clock.now += rotation.PAUSE_SECONDS
    file.write("at last")
    file.close()
    assert len(names(tmp_path)) == 2
    assert (tmp_path / "logs" / "server.log").read_text() == "at last\n"


def test_a_disk_that_took_a_part_of_a_line_harms_no_other_line(
    tmp_path: Path, clock: Clock
) -> None:
    file = opened(tmp_path, clock)
    file.write("whole")

    class Short:
        """Takes four bytes, then nothing, then all."""

        def __init__(self, stream: object) -> None:
            self.stream, self.turn = stream, 0

        def write(self, data: bytes) -> int:
            self.turn += 1
            if self.turn == 1:
                return self.stream.write(data[:4])  # type: ignore[attr-defined, no-any-return]
            if self.turn == 2:
                raise OSError(28, "No space left on device")
            return self.stream.write(data)  # type: ignore[attr-defined, no-any-return]

        def close(self) -> None:
            self.stream.close()  # type: ignore[attr-defined]

    file._stream = Short(file._stream)  # type: ignore[assignment]
    file.write("cut off here")
    with pytest.raises(OSError, match="No space"):
        file.write("lost")
    file.write("whole again")
    file.close()
    text = (tmp_path / "logs" / "server.log").read_text()
    assert text == "whole\ncut \nwhole again\n"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs Linux's /dev/full")
def test_what_is_no_file_is_written_to_and_never_put_aside(tmp_path: Path, clock: Clock) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "server.log").symlink_to("/dev/full")
    file = opened(tmp_path, clock)
    for _ in range(3):
        with pytest.raises(OSError, match="No space"):
            file.write("x" * 200)
        clock.now += DAY
    file.close()
    assert names(tmp_path) == ["server.log"]


def test_a_folder_that_is_none_is_an_error_each_time_and_mended_when_it_is(
    tmp_path: Path, clock: Clock
) -> None:
    (tmp_path / "logs").write_text("a file")
    file = opened(tmp_path, clock)
    for _ in range(2):
        with pytest.raises(OSError):  # noqa: PT011 (which one depends on the system)
            file.write("lost")
    (tmp_path / "logs").unlink()
    file.write("written")
    file.close()
    assert (tmp_path / "logs" / "server.log").read_text() == "written\n"


def test_odd_characters_are_written_all_the_same(tmp_path: Path, clock: Clock) -> None:
    file = opened(tmp_path, clock)
    file.write("a\udc80 ü")
    file.close()
    assert (tmp_path / "logs" / "server.log").read_text("utf-8") == "a\\udc80 ü\n"


def test_the_last_lines_reach_back_into_what_was_put_aside(tmp_path: Path, clock: Clock) -> None:
    file = opened(tmp_path, clock)
    for number in range(30):
        file.write(f"line number {number}")
    file.close()
    path = tmp_path / "logs" / "server.log"
    current = path.read_text().splitlines()
    older = 30 - len(current)
    assert last_lines(path, 3) == [f"line number {older - back}" for back in (3, 2, 1)]
    assert last_lines(path, 1000) == [f"line number {number}" for number in range(older)]
    assert last_lines(path, 0) == []
    old_files(path)[-1][2].write_bytes(b"no gzip at all")
    assert last_lines(path, 1000)[0] == "line number 0"
    assert last_lines(tmp_path / "nothing" / "server.log", 5) == []
