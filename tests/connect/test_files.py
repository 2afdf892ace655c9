"""Clients' files on the disk: what is written, copied, restored, and never lost."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from localserve.connect.client import Client
from localserve.connect.clients import find_client
from localserve.connect.files import FileNotChanged, Memory, plan_write, undo, write
from localserve.connect.places import Surroundings
from localserve.connect.served import Served
from tests.connect.conftest import CHAT

OLD = """\
{
  // mine
  "theme": "dark",
  "provider": {
    "other": {"options": {"apiKey": "theirs"}}, // the other one
  }
}
"""


class Desk:
    """A client, its file and the commands on it."""

    def __init__(self, name: str, account: Surroundings, memory: Path) -> None:
        self.client: Client = find_client(name)
        self.account = account
        self.memory = Memory(memory, self.client)
        self.path = self.client.files_for(account)[-1].path(account)

    def put(self, text: str) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_bytes(text.encode())

    def write(self, served: Served) -> list[Path | None]:
        """Returns the copies of the old files."""
        changes = plan_write(self.client, served, self.account, self.memory)
        write(changes, self.memory)
        return [change.written.backup for change in changes]

    def undo(self) -> list[str]:
        return [one.how for one in undo(self.client, self.account, self.memory)]

    @property
    def text(self) -> str:
        return self.path.read_bytes().decode()


@pytest.fixture
def desk(account: Surroundings, tmp_path: Path) -> Desk:
    return Desk("opencode", account, tmp_path / "memory")


def everything_in(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_old_file_lies_beside_the_new_one_and_comes_back(desk: Desk, served: Served) -> None:
    desk.put(OLD)
    before = everything_in(desk.account.home)
    (backup,) = desk.write(served)
    assert backup is not None
    assert backup.parent == desk.path.parent
    assert backup.read_text() == OLD
    for line in ("// mine", '"apiKey": "theirs"', "// the other one", "localserve", CHAT.name):
        assert line in desk.text
    assert desk.undo() == ["restored"]
    assert everything_in(desk.account.home) == before


def test_writing_twice_is_writing_once(desk: Desk, served: Served) -> None:
    desk.put(OLD)
    desk.write(served)
    once = desk.text
    desk.write(served)
    assert desk.text == once
    assert desk.undo() == ["restored"]
    assert desk.text == OLD


def test_models_that_are_no_longer_served_leave_with_the_next_write(
    desk: Desk, served: Served
) -> None:
    desk.put(OLD)
    desk.write(served)
    other = replace(CHAT, name="another")
    desk.write(replace(served, models=(other,), url="http://127.0.0.1:9000"))
    assert CHAT.name not in desk.text
    assert "8080" not in desk.text
    assert "another" in desk.text
    assert desk.undo() == ["restored"]


def test_what_the_user_changed_since_survives_undo(desk: Desk, served: Served) -> None:
    desk.put(OLD)
    desk.write(served)
    desk.put(desk.text.replace('"dark"', '"light"').replace("// mine", "// my new comment"))
    assert desk.undo() == ["edited"]
    assert "// my new comment" in desk.text
    assert '"light"' in desk.text
    assert "localserve" not in desk.text


def test_what_the_user_changed_between_two_writes_survives_undo(desk: Desk, served: Served) -> None:
    desk.put(OLD)
    (backup,) = desk.write(served)
    desk.put(desk.text.replace('"dark"', '"light"'))
    assert desk.write(served) == [None]  # no copy is that file without the entries
    assert desk.undo() == ["edited"]
    assert '"light"' in desk.text
    assert "localserve" not in desk.text
    assert backup is not None
    assert backup.read_text() == OLD


def test_a_file_of_ours_is_kept_once_it_has_something_else(desk: Desk, served: Served) -> None:
    assert desk.write(served) == [None]
    document = json.loads(desk.text)
    desk.put(json.dumps({**document, "theme": "dark"}))
    assert desk.undo() == ["edited"]
    assert json.loads(desk.text) == {"theme": "dark"}


def test_a_vimrc_of_ours_is_kept_once_it_has_lines_of_others(
    account: Surroundings, tmp_path: Path, served: Served
) -> None:
    desk = Desk("llama-vim", account, tmp_path / "memory")
    desk.write(served)
    desk.put(desk.text + "set number\n")
    assert desk.undo() == ["edited"]
    assert desk.text == "set number\n"


def test_a_file_that_is_gone_is_told(desk: Desk, served: Served) -> None:
    desk.write(served)
    desk.path.unlink()
    assert desk.undo() == ["gone"]
    assert desk.undo() == []


def test_a_copy_that_was_deleted_is_not_needed_to_undo(desk: Desk, served: Served) -> None:
    desk.put(OLD)
    (backup,) = desk.write(served)
    assert backup is not None
    backup.unlink()
    assert desk.undo() == ["edited"]
    assert "localserve" not in desk.text
    assert "// mine" in desk.text


def test_an_older_copy_is_never_overwritten(desk: Desk, served: Served) -> None:
    desk.put(OLD)
    old_copy = desk.path.with_name(desk.path.name + ".before-localserve")
    old_copy.write_text("older")
    (backup,) = desk.write(served)
    assert backup != old_copy
    assert old_copy.read_text() == "older"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('{"a": }', "line 1"),
        ("[1, 2]", "does not say what the client expects"),
        ('"text"', "does not say what the client expects"),
    ],
)
def test_a_file_that_cannot_be_merged_is_left_as_it_is(
    desk: Desk, served: Served, text: str, problem: str
) -> None:
    desk.put(text)
    before = everything_in(desk.account.home)
    with pytest.raises(FileNotChanged, match=problem):
        desk.write(served)
    assert everything_in(desk.account.home) == before
    assert desk.memory.files() == ()


def test_text_in_another_encoding_is_left_as_it_is(desk: Desk, served: Served) -> None:
    desk.put(OLD)
    desk.path.write_bytes('{"a": "é"}'.encode("latin-1"))
    with pytest.raises(FileNotChanged, match="UTF-8"):
        desk.write(served)
    assert desk.path.read_bytes() == '{"a": "é"}'.encode("latin-1")


def test_entries_that_share_an_anchor_with_others_are_not_touched(
    account: Surroundings, tmp_path: Path, served: Served
) -> None:
    desk = Desk("continue", account, tmp_path / "memory")
    text = "models: &all\n- name: localserve org/chat-8b\n  model: x\nmine: *all\n"
    desk.put(text)
    with pytest.raises(FileNotChanged, match="without changing other entries"):
        desk.write(served)
    assert desk.text == text


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
def test_a_link_stays_a_link(desk: Desk, served: Served, tmp_path: Path) -> None:
    real = tmp_path / "dotfiles.json"
    real.write_text(OLD)
    real.chmod(0o640)
    desk.path.parent.mkdir(parents=True)
    desk.path.symlink_to(real)
    desk.write(served)
    assert desk.path.is_symlink()
    assert "localserve" in real.read_text()
    assert real.stat().st_mode & 0o777 == 0o640
    assert desk.undo() == ["restored"]
    assert desk.path.is_symlink()
    assert real.read_text() == OLD


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_is_told(desk: Desk, served: Served) -> None:
    desk.put(OLD)
    desk.path.parent.chmod(0o500)
    try:
        with pytest.raises(FileNotChanged, match="Permission denied"):
            desk.write(served)
    finally:
        desk.path.parent.chmod(0o700)
    assert desk.text == OLD


def test_a_damaged_memory_is_no_memory(desk: Desk, served: Served, tmp_path: Path) -> None:
    desk.put(OLD)
    desk.write(served)
    (tmp_path / "memory" / "opencode.json").write_text('{"files": [{}]}')
    assert desk.memory.files() == ()
    assert desk.undo() == []


def test_new_files_are_for_their_owner_alone(desk: Desk, served: Served) -> None:
    desk.write(replace(served, key="ls-secret"))
    assert "ls-secret" in desk.text
    if os.name != "nt":
        assert desk.path.stat().st_mode & 0o077 == 0
