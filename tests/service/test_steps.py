"""Steps are carried out in order, up to the first that fails."""

from __future__ import annotations

from pathlib import Path

import pytest

from localserve.service.steps import Remove, Run, ServiceFailed, Write, carry_out, run, told
from tests.service.recorder import Recorder


@pytest.fixture
def tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Recorder:
    recorder = Recorder(tmp_path / "bin", "tool")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    return recorder


def test_files_come_and_go_and_programs_run(tool: Recorder, tmp_path: Path) -> None:
    path = tmp_path / "deep" / "er" / "file"
    carry_out([Write(path, "text\n"), Run(("tool", "a b"))])
    assert (path.read_text(), tool.calls) == ("text\n", ["tool a b"])
    assert [one.name for one in path.parent.iterdir()] == ["file"]
    carry_out([Remove(path), Remove(path)])
    assert not path.exists()


def test_a_program_that_refuses_ends_it_with_its_last_words(tool: Recorder, tmp_path: Path) -> None:
    tool.answer("tool bad", "first\nno such unit", status=5)
    with pytest.raises(ServiceFailed, match=r"`tool bad` failed with status 5: no such unit"):
        carry_out([Run(("tool", "bad")), Write(tmp_path / "never", "")])
    assert not (tmp_path / "never").exists()
    carry_out([Run(("tool", "bad"), may_fail=True), Run(("tool", "next"))])
    assert tool.calls[-1] == "tool next"


def test_a_program_that_is_missing_is_told(tool: Recorder) -> None:
    with pytest.raises(ServiceFailed, match="`absent` cannot be run"):
        run(("absent",))


def test_a_file_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ServiceFailed, match="cannot be written"):
        carry_out([Write(tmp_path / "file" / "unit", "text")])
    (tmp_path / "folder").mkdir()
    with pytest.raises(ServiceFailed, match="cannot be written"):
        carry_out([Write(tmp_path / "folder", "text")])
    assert sorted(one.name for one in tmp_path.iterdir()) == ["file", "folder"]


def test_they_are_told_in_lines() -> None:
    steps = [Write(Path("/x"), "a\n\nb\n"), Run(("tool", "a b")), Remove(Path("/x"))]
    assert list(told(steps)) == ["write /x", "    a", "", "    b", "run tool 'a b'", "remove /x"]
