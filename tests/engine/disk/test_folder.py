"""Files of kept prefixes: whose they are, how many, and what is left out."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import numpy as np
import pytest

from localserve.engine.disk import folder as folder_module
from localserve.engine.disk.folder import STALE_SECONDS, PrefixFolder
from localserve.engine.disk.record import Damaged, Part, Payload, Record
from tests.engine.rig import token_array

MINE, OTHER = b"m" * 16, b"o" * 16
SIZE = 1_000


def record_of(number: int, size: int = SIZE) -> tuple[Record, list[Payload]]:
    payload = np.full(size, number % 256, np.uint8)
    return Record(b"p" * 16, 0, token_array(number), (Part(1, size),)), [payload]


def write(folder: PrefixFolder, number: int, *, namespace: bytes = MINE, age: float = 0.0) -> Path:
    """Write a record as one that was used `age` seconds ago; its file."""
    record, payloads = record_of(number)
    folder.prepare(namespace)
    assert folder.make_room(record.file_bytes) is not None
    folder.write(namespace, record, payloads)
    path = next(iter(folder._path.glob(f"*/{record.key.hex()}.kv")))
    used = path.stat().st_mtime - age
    os.utime(path, (used, used))
    return path


def numbers(folder: PrefixFolder, namespace: bytes = MINE) -> list[int]:
    return [int(record.tokens[0]) for record in folder.records(namespace)]


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_only_their_user_may_read_them(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        path = write(PrefixFolder(tmp_path / "cache" / "prefixes", 10_000), 1)
    finally:
        os.umask(before)
    assert [mode(path), mode(path.parent), mode(path.parent.parent)] == [0o600, 0o700, 0o700]


def test_a_folder_that_others_may_read_is_closed_to_them(tmp_path: Path) -> None:
    (tmp_path / "prefixes").mkdir()
    (tmp_path / "prefixes").chmod(0o755)
    PrefixFolder(tmp_path / "prefixes", 10_000).prepare(MINE)
    assert mode(tmp_path / "prefixes") == 0o700


def test_a_folder_of_somebody_else_or_a_link_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    with pytest.raises(NotADirectoryError):
        PrefixFolder(tmp_path / "link", 10_000).prepare(MINE)
    uid = os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: uid + 1)
    with pytest.raises(PermissionError, match="another user"):
        PrefixFolder(tmp_path / "prefixes", 10_000).prepare(MINE)


def test_what_was_written_is_listed_and_read_by_its_own_model_only(tmp_path: Path) -> None:
    folder = PrefixFolder(tmp_path, 10_000)
    write(folder, 1, age=5.0)
    write(folder, 2, age=9.0)
    write(folder, 3, namespace=OTHER)
    assert numbers(folder) == [2, 1]
    assert numbers(folder, OTHER) == [3]
    record, payloads = record_of(1)
    assert folder.read(MINE, record)[0].tolist() == payloads[0].tolist()
    with pytest.raises(FileNotFoundError):
        folder.read(OTHER, record)


def test_those_used_longest_ago_go_first_whosever_they_are(tmp_path: Path) -> None:
    folder = PrefixFolder(tmp_path, 3 * SIZE + 500)
    write(folder, 1, age=30.0)
    write(folder, 2, namespace=OTHER, age=50.0)
    assert folder.touch(MINE, record_of(1)[0].key)
    write(folder, 3, age=20.0)
    assert numbers(folder, OTHER) == [2]
    gone = folder.make_room(SIZE)
    assert gone == [(OTHER, record_of(2)[0].key)]
    assert sorted(numbers(folder)) == [1, 3]
    assert folder.make_room(3 * SIZE + 501) is None
    assert sorted(numbers(folder)) == [1, 3]


def test_the_budget_holds_for_all_servers_together(tmp_path: Path) -> None:
    servers = [PrefixFolder(tmp_path, 5 * SIZE) for _ in range(3)]
    for server in servers:
        server._looked = float("-inf")
    for number in range(30):
        server = servers[number % 3]
        write(server, number, age=100.0 - number)
        server._looked = float("-inf")  # a second later
    files = list(tmp_path.glob("*/*.kv"))
    assert sum(file.stat().st_size for file in files) <= 5 * SIZE
    assert set(numbers(servers[0])) <= set(range(24, 30))


def test_files_are_counted_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder_module, "MOST_FILES", 4)
    folder = PrefixFolder(tmp_path, 1 << 30)
    for number in range(9):
        write(folder, number, age=100.0 - number)
    assert numbers(folder) == [5, 6, 7, 8]


def test_files_that_vanish_harm_nobody(tmp_path: Path) -> None:
    folder = PrefixFolder(tmp_path, 2 * SIZE + 500)
    for number in range(2):
        write(folder, number).unlink()
    record, payloads = record_of(0)
    assert not folder.touch(MINE, record.key)
    folder.remove(MINE, record.key)
    with pytest.raises(FileNotFoundError):
        folder.read(MINE, record)
    folder._looked = float("-inf")
    assert folder.make_room(2 * SIZE) == []
    (tmp_path / MINE.hex()).rmdir()
    tmp_path.rmdir()
    assert folder.records(MINE) == []
    folder.write(MINE, record, payloads)
    assert numbers(folder) == [0]


def test_a_damaged_file_is_left_out_told_of_once_and_removed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = PrefixFolder(tmp_path, 10_000)
    whole, damaged, short, renamed = (write(folder, number) for number in range(4))
    data = bytearray(damaged.read_bytes())
    data[30] ^= 1
    damaged.write_bytes(data)
    short.write_bytes(short.read_bytes()[:-1])
    renamed.rename(renamed.with_name(f"{'0' * 32}.kv"))
    assert numbers(folder) == [0]
    assert caplog.text.count("is left out and removed") == 3
    assert list(tmp_path.glob("*/*")) == [whole]
    payload = bytearray(whole.read_bytes())
    payload[-1] ^= 1
    whole.write_bytes(payload)
    assert numbers(folder) == [0]  # its payload is looked at when it is needed
    with pytest.raises(Damaged, match="checksum"):
        folder.read(MINE, record_of(0)[0])
    assert not whole.exists()
    assert caplog.text.count("is left out and removed") == 4


def test_what_is_not_ours_is_left_alone(tmp_path: Path) -> None:
    folder = PrefixFolder(tmp_path / "prefixes", SIZE + 200)
    path = write(folder, 1)
    secret = tmp_path / "secret"
    secret.write_bytes(path.read_bytes())
    theirs = [path.with_name("notes.txt"), path.parent.parent / "readme", tmp_path / "x.kv"]
    for one in theirs:
        one.write_bytes(b"theirs")
    link = path.with_name(f"{'a' * 32}.kv")
    link.symlink_to(secret)
    pipe = path.with_name(f"{'b' * 32}.kv")
    os.mkfifo(pipe)
    folder._looked = float("-inf")
    assert folder.make_room(SIZE) == [(MINE, record_of(1)[0].key)]
    assert numbers(folder) == []
    assert all(one.exists() for one in (*theirs, link, pipe, secret))


def test_a_link_in_the_place_of_a_record_is_not_followed(tmp_path: Path) -> None:
    folder = PrefixFolder(tmp_path / "prefixes", 10_000)
    path = write(folder, 1)
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match=r"symbolic|links"):
        folder.read(MINE, record_of(1)[0])


def test_nothing_is_left_of_a_write_that_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = PrefixFolder(tmp_path, 10_000)
    folder.prepare(MINE)

    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(folder_module, "write_record", full)
    with pytest.raises(OSError, match="No space"):
        folder.write(MINE, *record_of(1))
    assert list(tmp_path.glob("*/*")) == []


def test_what_was_begun_long_ago_is_cleared_away(tmp_path: Path) -> None:
    folder = PrefixFolder(tmp_path, 10_000)
    path = write(folder, 1)
    old, new = (path.with_name(f"{path.name}.{letter * 16}.part") for letter in "ab")
    for begun in (old, new):
        begun.write_bytes(b"half")
    then = path.stat().st_mtime - STALE_SECONDS - 10
    os.utime(old, (then, then))
    assert numbers(folder) == [1]
    assert (old.exists(), new.exists()) == (False, True)
