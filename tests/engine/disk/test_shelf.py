"""A model's records over a real folder: threads, bounds, and disks that refuse."""

from __future__ import annotations

import errno
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from localserve.engine.disk import shelf as shelf_module
from localserve.engine.disk.folder import PrefixFolder
from localserve.engine.disk.record import Part, Payload, Record
from localserve.engine.disk.shelf import RETRY_SECONDS, Shelf
from localserve.engine.prefixes import TokenArray
from tests.engine.rig import PATIENCE_SECONDS, token_array


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def shelf(tmp_path: Path, clock: Clock) -> Iterator[Shelf]:
    opened = Shelf(PrefixFolder(tmp_path, 1 << 20), {"model": 1}, cuttable=True, clock=clock)
    yield opened
    opened.close(PATIENCE_SECONDS)


def again(tmp_path: Path, **identity: int) -> Shelf:
    return Shelf(PrefixFolder(tmp_path, 1 << 20), identity, cuttable=True)


def put(shelf: Shelf, scope: str, tokens: TokenArray, size: int = 100) -> Record | None:
    parent, before = shelf.follow(scope, tokens)
    start = before[-1].end if before else 0
    record = Record(parent, start, tokens[start:], (Part(len(tokens), size),))
    return record if shelf.write(record, [np.zeros(size, np.uint8)]) else None


def read(shelf: Shelf, record: Record) -> list[Payload] | None:
    arrived: list[list[Payload] | None] = []
    there = threading.Event()

    def deliver(payloads: list[Payload] | None) -> None:
        arrived.append(payloads)
        there.set()

    shelf.read(record, deliver)
    assert there.wait(PATIENCE_SECONDS)
    return arrived[0]


def test_what_one_server_wrote_the_next_one_finds(shelf: Shelf, tmp_path: Path) -> None:
    tokens = token_array(1, 2, 3)
    assert put(shelf, "mine", tokens)
    assert shelf.find("mine", tokens)
    shelf.close(PATIENCE_SECONDS)
    later = again(tmp_path, model=1)
    found = later.find("mine", tokens)
    assert found is not None
    assert found.held == 3
    assert read(later, found.records[0]) is not None
    assert len(later) == 1
    assert later.size_bytes == sum(one.stat().st_size for one in tmp_path.glob("*/*.kv"))
    later.close(0.0)


def test_nothing_crosses_scopes_or_models(shelf: Shelf, tmp_path: Path) -> None:
    tokens = token_array(1, 2, 3)
    put(shelf, "mine", tokens)
    for scope in ("", "theirs", "mine "):
        assert shelf.find(scope, tokens) is None
        assert shelf.follow(scope, tokens)[1] == ()
    shelf.close(PATIENCE_SECONDS)
    other = again(tmp_path, model=2)
    assert other.find("mine", tokens) is None
    other.close(0.0)


def test_what_is_not_written_yet_can_be_read(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    go_on = threading.Event()
    monkeypatch.setattr(
        PrefixFolder, "make_room", lambda self, size: go_on.wait(PATIENCE_SECONDS) and None
    )
    record = put(shelf, "", token_array(1, 2))
    assert record is not None
    assert read(shelf, record) is not None
    go_on.set()


def test_what_waits_to_be_written_is_bounded(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shelf_module, "QUEUE_BYTES", 250)
    monkeypatch.setattr(shelf_module, "LARGEST_BYTES", 400)
    go_on = threading.Event()
    write = PrefixFolder.write

    def slowly(self: PrefixFolder, namespace: bytes, record: Record, parts: list[Payload]) -> None:
        assert go_on.wait(PATIENCE_SECONDS)
        write(self, namespace, record, parts)

    monkeypatch.setattr(PrefixFolder, "write", slowly)
    assert put(shelf, "", token_array(1))
    assert put(shelf, "", token_array(2))
    assert put(shelf, "", token_array(3)) is None
    assert not shelf.takes(51)
    assert shelf.takes(50)
    assert not shelf.wait_for_room(0.0)
    go_on.set()
    assert shelf.wait_for_room(PATIENCE_SECONDS)
    assert put(shelf, "", token_array(4), size=400)  # alone it may be larger
    assert not shelf.takes(401)


def test_a_full_disk_is_told_of_once_and_tried_again_later(
    shelf: Shelf, clock: Clock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(PrefixFolder, "write", full)
        put(shelf, "", token_array(1))
        assert not shelf.wait_for_room(PATIENCE_SECONDS)
        assert put(shelf, "", token_array(2)) is None
        clock.now += RETRY_SECONDS
        put(shelf, "", token_array(2))
        assert not shelf.wait_for_room(PATIENCE_SECONDS)
    assert caplog.text.count("No space left on device") == 1
    assert "LOCALSERVE_PREFIX_DISK_BYTES=0" in caplog.text
    assert len(shelf) == 0
    clock.now += RETRY_SECONDS
    assert put(shelf, "", token_array(3))
    assert shelf.wait_for_room(PATIENCE_SECONDS)
    assert len(shelf) == 1


def test_what_goes_wrong_in_writing_is_not_tried_again_at_once(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*arguments: object) -> None:
        raise ValueError("by chance")

    monkeypatch.setattr(PrefixFolder, "write", fail)
    put(shelf, "", token_array(1))
    assert not shelf.wait_for_room(PATIENCE_SECONDS)
    assert put(shelf, "", token_array(2)) is None
    assert "by chance" in caplog.text
    assert len(shelf) == 0


def test_a_record_that_is_gone_or_damaged_is_forgotten(shelf: Shelf, tmp_path: Path) -> None:
    records = [put(shelf, "", token_array(number)) for number in range(3)]
    assert shelf.wait_for_room(PATIENCE_SECONDS)
    paths = [next(tmp_path.glob(f"*/{one.key.hex()}.kv")) for one in records if one]
    paths[0].unlink()
    paths[1].write_bytes(paths[1].read_bytes()[:-1] + b"x")
    assert [read(shelf, one) is None for one in records if one] == [True, True, False]
    assert len(shelf) == 1
    assert not paths[1].exists()


def test_what_no_longer_fits_is_forgotten(tmp_path: Path) -> None:
    shelf = Shelf(PrefixFolder(tmp_path, 1_000), {}, cuttable=True)
    assert not shelf.takes(501)
    for number in range(8):
        assert put(shelf, "", token_array(number), size=300)
        assert shelf.wait_for_room(PATIENCE_SECONDS)
        shelf._folder._looked = float("-inf")  # a second later
    assert len(shelf) <= 2
    assert shelf.find("", token_array(7))
    assert shelf.find("", token_array(0)) is None
    shelf.close(0.0)


def test_a_conversation_that_cannot_be_cut_leaves_its_last_state_only(tmp_path: Path) -> None:
    shelf = Shelf(PrefixFolder(tmp_path, 10_000), {}, cuttable=False)
    for length in (2, 3, 4):
        tokens = token_array(*range(length))
        parent, _ = shelf.follow("", tokens[:0])
        record = Record(parent, 0, tokens, (Part(length, 10),))
        assert shelf.write(record, [np.zeros(10, np.uint8)])
    assert shelf.wait_for_room(PATIENCE_SECONDS)
    assert len(shelf) == 1
    assert len(list(tmp_path.glob("*/*.kv"))) == 1
    shelf.close(0.0)


def test_a_closed_shelf_takes_and_gives_nothing(shelf: Shelf) -> None:
    record = put(shelf, "", token_array(1))
    assert record is not None
    shelf.close(PATIENCE_SECONDS)
    assert put(shelf, "", token_array(2)) is None
    assert read(shelf, record) is None
    shelf.touch([record])
    shelf.discard(record, "of no use")
