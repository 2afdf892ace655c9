"""Kept prefixes leave the cells for the disk where cells in use slow every step down."""

from __future__ import annotations

import random

import pytest

from localserve.chat import Priority
from localserve.engine.disk.saving import IDLE_SECONDS_CROWDED, WORTH_WRITING_CROWDED
from localserve.engine.disk.shelf import Shelf
from localserve.engine.scheduler import WORTH_THE_CELLS
from localserve.engine.scripted import ScriptedRunner
from tests.engine.disk.servers import LONG, Servers, ask, cached
from tests.engine.rig import PairVocabulary, Rig, in_pairs, request


def crowded(servers: Servers) -> Rig:
    return servers.start(ScriptedRunner(cells=4_000, crowding_slows=True))


OTHER = bytes(random.Random(2).choices(range(32, 122), k=500))


def test_a_long_answer_that_begins_alone_has_the_cells_for_itself(servers: Servers) -> None:
    rig = crowded(servers)
    ask(rig, LONG + b"\nhello\n")
    other = ask(rig, OTHER + b"\nother\n")
    assert rig.text(other) == "other"
    assert rig.scheduler.cells_used == len(OTHER) + len(b"\nother\nother")
    again = ask(rig, LONG + b"\nhello\n")
    assert rig.text(again) == "hello"
    assert cached(rig, again) == again.prompt_length - 1
    assert rig.scheduler.cells_used == len(LONG) + len(b"\nhello\nhello")


def test_what_it_begins_with_stays_in_the_cells(
    servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = crowded(servers)
    ask(rig, LONG + b"\nhello\n")
    ask(rig, LONG[:300] + OTHER + b"\nother\n")
    monkeypatch.setattr(Shelf, "read", None)
    first, second = LONG[:300] + OTHER + b"\nother\nother\nmore\n", LONG[:300] + b"\nelse\n"
    assert cached(rig, ask(rig, first)) >= 300 + len(OTHER) + len(b"\nother\n")
    assert cached(rig, ask(rig, second)) == 300
    assert rig.scheduler.cells_used == 300 + len(b"\nelse\nelse")


def test_a_full_queue_is_asked_once_however_much_is_kept(
    servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = crowded(servers)
    asked: list[int] = []

    def takes(shelf: Shelf, size: int) -> bool:
        asked.append(size)
        return False

    monkeypatch.setattr(Shelf, "takes", takes)
    for number in range(6):
        ask(rig, bytes([40 + number]) * 300 + b"\nhello\n")
    assert rig.scheduler.cells_kept >= 6 * 300
    asked.clear()
    ask(rig, OTHER + b"\nother\n")
    assert len(asked) == 1


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"max_tokens": WORTH_THE_CELLS - 90}, id="a short answer"),
        pytest.param({"priority": Priority.INTERACTIVE}, id="somebody types"),
    ],
)
def test_little_work_takes_the_cells_that_are_free(
    servers: Servers, changes: dict[str, object]
) -> None:
    rig = crowded(servers)
    ask(rig, LONG + b"\nhello\n")
    ask(rig, OTHER[:70] + b"\nother\n", **changes)
    assert rig.scheduler.cells_used > len(LONG) + 70


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"max_tokens": 8}, id="a short answer"),
        pytest.param({"priority": Priority.INTERACTIVE}, id="somebody types"),
    ],
)
def test_a_long_prompt_is_work_too(servers: Servers, changes: dict[str, object]) -> None:
    rig = crowded(servers)
    ask(rig, LONG + b"\nhello\n")
    ask(rig, OTHER + b"\nother\n", **changes)
    assert rig.scheduler.cells_used == len(OTHER) + len(b"\nother\nother")


def test_a_short_beginning_is_computed_again(servers: Servers) -> None:
    rig = crowded(servers)
    ask(rig, LONG + b"\nhello\n")
    assert cached(rig, ask(rig, LONG[:4] + OTHER + b"\nother\n")) == 0


def test_what_any_of_those_begins_with_that_come_together_stays(
    servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = crowded(servers)
    for prompt in (LONG, OTHER):
        rig.submit(request(prompt + b"\nhello\n"))
    rig.finish()
    rig.save_all()
    monkeypatch.setattr(Shelf, "read", None)
    together = [LONG + b"\nhello\nhello\nnext\n", OTHER + b"\nhello\nhello\nnext\n"]
    sequences = [rig.submit(request(prompt)) for prompt in together]
    rig.finish()
    assert [cached(rig, one) for one in sequences] == [len(LONG) + 12, len(OTHER) + 12]


def test_nothing_leaves_the_cells_beside_a_running_answer(servers: Servers) -> None:
    rig = crowded(servers)
    ask(rig, LONG + b"\nhello\n")
    rig.submit(request(b"x\n" + b"z" * 40 + b"\n", max_tokens=WORTH_THE_CELLS - 90))
    rig.step()
    ask(rig, OTHER + b"\nother\n")
    assert rig.scheduler.cells_used > len(LONG) + len(OTHER)


def test_what_no_disk_takes_stays_in_the_cells(
    servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = crowded(servers)
    ask(rig, LONG + b"\nhello\n")
    monkeypatch.setattr(Shelf, "takes", lambda *these: False)
    ask(rig, OTHER + b"\nother\n")
    assert rig.scheduler.cells_used > len(LONG) + len(OTHER)
    assert cached(rig, ask(rig, LONG + b"\nhello\nmore\n")) >= len(LONG)


def test_the_ids_of_an_answer_stay_in_the_cells(
    servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The model writes single bytes, the tokenizer pairs."""
    answer = bytes(range(97, 123)) * 4
    runner = ScriptedRunner(cells=4_000, crowding_slows=True, vocabulary=PairVocabulary())
    rig = servers.start(runner)
    ask(rig, in_pairs(LONG + b"\n" + answer + b"\n"), from_text=True)
    monkeypatch.setattr(Shelf, "read", None)
    longer = LONG + b"\n" + answer + b"\n" + answer + b"\nnext\n"
    sequence = ask(rig, in_pairs(longer), from_text=True)
    assert cached(rig, sequence) > (len(LONG) + 2 * len(answer)) / 2 - 20


def test_what_is_in_the_way_is_written_sooner(servers: Servers) -> None:
    rig = crowded(servers)
    saver = rig.scheduler.saver
    assert saver is not None
    ask(rig, LONG[:WORTH_WRITING_CROWDED] + b"\nhello\n")
    assert saver.due_seconds() == IDLE_SECONDS_CROWDED
