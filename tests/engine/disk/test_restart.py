"""A scheduler whose prefixes go to disk, and the next one, which begins with them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from localserve.engine.cache import Graft
from localserve.engine.disk import restoring, saving
from localserve.engine.disk.restoring import WORTH_READING
from localserve.engine.disk.saving import IDLE_SECONDS, PIECE_TOKENS, WORTH_WRITING
from localserve.engine.disk.shelf import Shelf
from localserve.engine.scripted import ScriptedRunner
from tests.engine.disk.servers import LONG, Servers, ask, cached
from tests.engine.rig import PairVocabulary, in_pairs, request, token_array


def uncut() -> ScriptedRunner:
    return ScriptedRunner(cells=4_000, cuts_anywhere=False, checkpoint_bytes=100_000)


def test_a_conversation_goes_on_after_a_restart(servers: Servers) -> None:
    first = servers.start()
    before = ask(first, LONG + b"\nhello\n")
    servers.stop(first)
    second = servers.start()
    after = ask(second, LONG + b"\nhello\n")
    assert second.text(after) == first.text(before) == "hello"
    assert cached(second, after) == after.prompt_length - 1
    assert second.runner.computed_tokens < 10
    longer = ask(second, LONG + b"\nhello\nhello\nand on\n")
    assert second.text(longer) == "and on"
    assert cached(second, longer) >= len(LONG) + 7


def test_what_was_restored_is_a_kept_prefix_like_any_other(servers: Servers) -> None:
    first = servers.start()
    ask(first, LONG + b"\nhello\n")
    servers.stop(first)
    second = servers.start()
    ask(second, LONG + b"\nhello\n")
    ask(second, LONG[:300] + b"\nelse\n")
    read = second.runner.computed_tokens
    assert cached(second, ask(second, LONG[:300] + b"\nmore\n")) == 301
    assert second.runner.computed_tokens - read < 12
    assert second.scheduler.cells_used < 2 * len(LONG)


def test_those_that_ask_at_once_are_all_served_by_one_reading(
    servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = servers.start()
    ask(first, LONG + b"\n0\n")
    servers.stop(first)
    second = servers.start(max_running=6, runner=ScriptedRunner(cells=4_000, slots=12))
    reads: list[object] = []
    read = Shelf.read
    monkeypatch.setattr(Shelf, "read", lambda *these: (reads.append(these), read(*these)))
    sequences = [second.submit(request(LONG + b"\n%d\n" % n)) for n in range(6)]
    second.finish()
    assert [second.text(one) for one in sequences] == [str(n) for n in range(6)]
    assert all(cached(second, one) >= len(LONG) for one in sequences)
    assert len(reads) == len(servers.files)


def test_others_are_not_held_up(servers: Servers) -> None:
    first = servers.start()
    ask(first, LONG + b"\nlong\n")
    servers.stop(first)
    second = servers.start()
    waiting = second.submit(request(LONG + b"\nlong\n"))
    short = second.submit(request(b"\nshort\n"))
    second.scheduler.schedule()
    assert second.scheduler.running == [short]
    assert second.scheduler.waiting == [waiting]
    second.scheduler.cancel(short)
    second.finish()
    assert second.text(waiting) == "long"


def test_a_beginning_of_other_conversations_is_read_as_far_as_it_agrees(servers: Servers) -> None:
    first = servers.start()
    ask(first, LONG + b"\nhello\n")
    servers.stop(first)
    second = servers.start()
    sequence = ask(second, LONG[:400] + b"\nother\n")
    assert cached(second, sequence) == 400
    assert second.text(sequence) == "other"


def test_only_what_the_memory_lacks_is_read(
    servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = servers.start()
    ask(first, LONG + b"\nhello\n")
    servers.stop(first)
    second = servers.start()
    ask(second, LONG[:300] + b"\nother\n")
    lengths: list[int] = []
    read = Shelf.read
    monkeypatch.setattr(
        Shelf,
        "read",
        lambda shelf, record, to: (lengths.append(record.start), read(shelf, record, to)),
    )
    assert cached(second, ask(second, LONG + b"\nhello\n")) == len(LONG) + 6
    assert lengths == [PIECE_TOKENS, 2 * PIECE_TOKENS]
    lengths.clear()
    assert cached(second, ask(second, LONG + b"\nhello\n")) == len(LONG) + 6
    assert lengths == []


def test_the_ids_of_an_answer_serve_after_a_restart(servers: Servers) -> None:
    """The model writes single bytes, the tokenizer pairs."""
    answer = bytes(range(97, 123)) * 4

    def runner() -> ScriptedRunner:
        return ScriptedRunner(cells=4_000, vocabulary=PairVocabulary())

    first = servers.start(runner())
    prompt = in_pairs(LONG + b"\n" + answer + b"\n")
    ask(first, prompt, from_text=True)
    servers.stop(first)
    second = servers.start(runner())
    longer = LONG + b"\n" + answer + b"\n" + answer + b"\nnext\n"
    sequence = ask(second, in_pairs(longer), from_text=True)
    assert second.text(sequence) == "next"
    assert cached(second, sequence) > (len(LONG) + 2 * len(answer)) / 2 - 20


def test_no_more_than_two_prefixes_are_read_at_once(
    servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompts = [b"%d" % number + LONG[: 400 + number] + b"\nx\n" for number in range(5)]

    def runner() -> ScriptedRunner:
        return ScriptedRunner(cells=8_000, slots=16)

    first = servers.start(runner())
    for prompt in prompts:
        ask(first, prompt)
    servers.stop(first)
    asked: list[int] = []
    read = Shelf.read
    monkeypatch.setattr(
        Shelf,
        "read",
        lambda shelf, record, to: (asked.append(record.start), read(shelf, record, to)),
    )
    second = servers.start(runner(), max_running=8)
    sequences = [second.submit(request(prompt)) for prompt in prompts]
    second.scheduler.schedule()
    assert asked == [0, PIECE_TOKENS] * 2
    second.finish()
    assert len(asked) == 10
    for sequence in sequences:
        assert cached(second, sequence) == sequence.prompt_length - 1


def test_what_there_can_be_no_room_for_drops_nothing(servers: Servers) -> None:
    rig = servers.start(ScriptedRunner(cells=1_000))
    ask(rig, b"k" * 200 + b"\nkept\n")
    rig.submit(request(b"r" * 500 + b"\nx\n"))
    rig.step()
    rig.step()
    cache = rig.scheduler.cache
    tokens = token_array(*LONG[:600])
    data = np.frombuffer(tokens.tobytes(), np.uint8)
    used = cache.tree.cells
    assert cache.graft("", tokens, data, range(600)) is Graft.NO_ROOM
    assert cache.tree.cells == used
    fits = token_array(*LONG[:450])
    data = np.frombuffer(fits.tobytes(), np.uint8)
    assert cache.graft("", fits, data, range(450)) is Graft.PLACED
    rig.check()


# What must not be


@pytest.mark.parametrize(("scope", "model"), [("theirs", 1), ("", 1), ("mine", 2)])
def test_no_other_scope_or_model_gets_it(servers: Servers, scope: str, model: int) -> None:
    first = servers.start()
    ask(first, LONG + b"\nhello\n", scope="mine")
    servers.stop(first)
    second = servers.start(model=model)
    assert cached(second, ask(second, LONG + b"\nhello\n", scope=scope)) == 0
    third = servers.start()
    assert cached(third, ask(third, LONG + b"\nhello\n", scope="mine")) > 0


@pytest.mark.parametrize("which", [0, 1, 2])
@pytest.mark.parametrize("cuts_anywhere", [True, False])
def test_what_is_damaged_is_computed(servers: Servers, which: int, cuts_anywhere: bool) -> None:
    def runner() -> ScriptedRunner:
        return ScriptedRunner(cells=4_000) if cuts_anywhere else uncut()

    first = servers.start(runner())
    ask(first, LONG + b"\nhello\n", checkpoints=(300, 650))
    servers.stop(first)
    second = servers.start(runner())
    by_age = sorted(servers.files, key=lambda path: path.stat().st_size, reverse=True)
    path = by_age[which % len(by_age)]
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    sequence = ask(second, LONG + b"\nhello\n", checkpoints=(300, 650))
    assert second.text(sequence) == "hello"
    assert cached(second, sequence) < len(LONG)
    assert not path.exists()


def test_what_is_gone_by_now_is_computed(servers: Servers) -> None:
    first = servers.start()
    ask(first, LONG + b"\nhello\n")
    servers.stop(first)
    second = servers.start()
    for path in servers.files:
        path.unlink()
    assert cached(second, ask(second, LONG + b"\nhello\n")) == 0


def test_a_disk_that_does_not_answer_is_not_waited_for(
    servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = servers.start()
    ask(first, LONG + b"\nhello\n")
    servers.stop(first)
    second = servers.start()
    monkeypatch.setattr(Shelf, "read", lambda *these: None)
    sequence = second.submit(request(LONG + b"\nhello\n"))
    second.scheduler.schedule()
    assert second.scheduler.waits_for_disk
    assert second.scheduler.restorer is not None
    assert second.scheduler.restorer.patience_seconds == restoring.PATIENCE_SECONDS
    servers.clock.now += restoring.PATIENCE_SECONDS
    step, _ = second.scheduler.schedule()
    assert step.sequences == (sequence,)
    assert sequence.cached_tokens == 0


def test_a_memory_that_refuses_leaves_the_record_out(
    servers: Servers, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    first = servers.start()
    ask(first, LONG + b"\nhello\n")
    servers.stop(first)
    second = servers.start()
    monkeypatch.setattr(ScriptedRunner, "copy_in", lambda *these: False)
    sequence = ask(second, LONG + b"\nhello\n")
    assert (second.text(sequence), cached(second, sequence)) == ("hello", 0)
    assert "llama.cpp does not take it" in caplog.text


def test_who_leaves_while_it_is_read_leaves_nothing_behind(servers: Servers) -> None:
    first = servers.start()
    ask(first, LONG + b"\nhello\n")
    servers.stop(first)
    second = servers.start()
    sequence = second.submit(request(LONG + b"\nhello\n"))
    second.scheduler.schedule()
    second.scheduler.cancel(sequence)
    assert second.scheduler.idle
    assert second.scheduler.restorer is not None
    assert not second.scheduler.restorer.busy
    assert cached(second, ask(second, LONG + b"\nhello\n")) > 0


def test_running_answers_are_not_paused_for_what_is_read(servers: Servers) -> None:
    first = servers.start()
    ask(first, LONG + b"\nhello\n")
    servers.stop(first)
    second = servers.start(ScriptedRunner(cells=1_500))
    running = second.submit(request(b"r" * 700 + b"\nx\n", max_tokens=60, ignore_end=True))
    second.step()
    waiting = second.submit(request(LONG + b"\nhello\n", max_tokens=5))
    second.finish()
    assert running.pauses == 0
    assert second.text(waiting) == "hello"
    assert cached(second, waiting) == waiting.prompt_length - 1


# What is written, and when


def test_short_prefixes_are_not_written(servers: Servers) -> None:
    rig = servers.start()
    ask(rig, LONG[: WORTH_WRITING - 20] + b"\nhello\n")
    servers.stop(rig)
    assert servers.files == []


def test_too_little_is_not_read(servers: Servers) -> None:
    first = servers.start()
    ask(first, LONG + b"\nhello\n")
    servers.stop(first)
    second = servers.start()
    assert cached(second, ask(second, LONG[: WORTH_READING - 10] + b"\nhello\n")) == 0
    assert second.scheduler.cells_used < 100


def test_what_is_idle_is_written_piece_by_piece(servers: Servers) -> None:
    rig = servers.start()
    saver = rig.scheduler.saver
    assert saver is not None
    assert saver.due_seconds() is None
    ask(rig, LONG + b"\nhello\n")
    assert saver.due_seconds() == IDLE_SECONDS
    saver.save_some()
    assert len(servers.shelves[0]) == 0
    servers.clock.now += IDLE_SECONDS
    for pieces in (1, 2, 3):
        assert saver.due_seconds() == 0.0
        saver.save_some()
        assert len(servers.shelves[0]) == pieces
    saver.save_some()
    assert saver.due_seconds() is None
    servers.clock.now += 10 * IDLE_SECONDS
    assert saver.due_seconds() is None


def test_a_conversation_that_goes_on_adds_only_what_is_new(servers: Servers) -> None:
    rig = servers.start()
    ask(rig, LONG + b"\nhello\n")
    rig.save_all()
    before = servers.shelves[0].size_bytes
    ask(rig, LONG + b"\nhello\nhello\n" + LONG[:90] + b"\nand on\n")
    rig.save_all()
    assert servers.shelves[0].size_bytes - before < 8 * 140
    ask(rig, LONG[:600] + b"\nelse\n")
    rig.save_all()
    assert servers.shelves[0].size_bytes - before < 8 * (140 + 140)


def test_what_is_dropped_is_written_in_the_time_that_there_is(servers: Servers) -> None:
    rig = servers.start(ScriptedRunner(cells=1_000))
    ask(rig, LONG + b"\nhello\n")
    ask(rig, b"y" * 800 + b"\nother\n")
    assert len(servers.shelves[0]) == 3
    again = ask(rig, LONG + b"\nhello\n")
    assert cached(rig, again) == again.prompt_length - 1


def test_nothing_is_copied_while_a_step_has_no_time_for_it(servers: Servers) -> None:
    rig = servers.start()
    ask(rig, LONG + b"\nhello\n")
    saver = rig.scheduler.saver
    assert saver is not None
    (slot,) = rig.scheduler.cache.kept
    saver.begin_step(0.0, answering=True)
    saver.spill(slot)
    assert len(servers.shelves[0]) == 0


def test_while_answers_run_only_small_pieces_are_copied(
    servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(saving, "PIECE_BYTES", 1_000)
    rig = servers.start(uncut())
    ask(rig, LONG + b"\nhello\n")
    saver = rig.scheduler.saver
    assert saver is not None
    (slot,) = rig.scheduler.cache.kept
    saver.begin_step(1.0, answering=True)
    saver.spill(slot)
    assert len(servers.shelves[0]) == 0
    saver.begin_step(1.0, answering=False)
    saver.spill(slot)
    assert len(servers.shelves[0]) == 1


def test_large_models_have_fewer_tokens_in_a_piece(
    servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(saving, "PIECE_BYTES", 400)
    rig = servers.start()
    ask(rig, LONG + b"\nhello\n")
    rig.save_all()
    assert len(servers.shelves[0]) == 7


def test_the_budget_holds_and_a_prefix_never_pushes_its_own_beginning_out(
    servers: Servers,
) -> None:
    first = servers.start(ScriptedRunner(cells=20_000, slots=20), limit=9_000)
    ask(first, LONG * 4 + b"\nhello\n")
    servers.stop(first)
    assert sum(path.stat().st_size for path in servers.files) < 9_000
    second = servers.start(ScriptedRunner(cells=20_000, slots=20), limit=9_000)
    assert cached(second, ask(second, LONG * 4 + b"\nhello\n")) >= 2 * PIECE_TOKENS


def test_the_end_is_bounded(servers: Servers) -> None:
    rig = servers.start()
    ask(rig, LONG + b"\nhello\n")
    assert rig.scheduler.saver is not None
    rig.scheduler.saver.flush(0.0)
    assert len(servers.shelves[0]) == 0


def test_answers_that_are_cut_off_at_the_end_go_on_after_it(servers: Servers) -> None:
    first = servers.start()
    first.submit(request(LONG + b"\nx\n", max_tokens=200, ignore_end=True))
    for _ in range(40):
        first.step()
    servers.stop(first)
    second = servers.start()
    sequence = ask(second, LONG + b"\nx\n", max_tokens=200, ignore_end=True)
    assert cached(second, sequence) == sequence.prompt_length - 1


def test_what_was_read_counts_as_used(servers: Servers, monkeypatch: pytest.MonkeyPatch) -> None:
    touched: list[int] = []
    monkeypatch.setattr(
        Shelf, "touch", lambda shelf, records: touched.extend(one.start for one in records)
    )
    first = servers.start()
    ask(first, LONG + b"\nhello\n")
    servers.stop(first)
    touched.clear()
    second = servers.start()
    ask(second, LONG + b"\nhello\n")
    assert touched == [0, PIECE_TOKENS, 2 * PIECE_TOKENS]


def test_reading_that_takes_longer_than_computing_is_left(
    servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = servers.start()
    ask(first, LONG + b"\nhello\n")
    servers.stop(first)
    second = servers.start()
    monkeypatch.setattr(Shelf, "read_seconds", lambda shelf, size: 2.0)
    pacer = second.scheduler._pacer
    pacer.observe(0, 1_000, 1.0)
    assert cached(second, ask(second, LONG + b"\nhello\n")) == 0
    pacer.observe(0, 1_000, 1_000.0)
    third = LONG[:680] + b"\nother\n"
    second.scheduler.cache.give_up(4_000)
    assert cached(second, ask(second, third)) == 680


# What cannot be cut


def test_a_model_that_cannot_be_cut_goes_on_from_its_checkpoints(servers: Servers) -> None:
    first = servers.start(uncut())
    ask(first, LONG + b"\nhello\n", checkpoints=(300, 650))
    servers.stop(first)
    assert len(servers.files) == 1
    second = servers.start(uncut())
    again = ask(second, LONG + b"\nhello\n", checkpoints=(300, 650))
    assert (second.text(again), cached(second, again)) == ("hello", 650)
    other = ask(second, LONG[:400] + b"\nother\n")
    assert (second.text(other), cached(second, other)) == ("other", 300)


def test_a_model_that_cannot_be_cut_goes_on_from_its_end(servers: Servers) -> None:
    first = servers.start(uncut())
    ask(first, LONG + b"\nhello\n")
    servers.stop(first)
    second = servers.start(uncut())
    longer = ask(second, LONG + b"\nhello\nhello\nand on\n")
    assert cached(second, longer) == len(LONG) + 12
    assert second.text(longer) == "and on"


def test_what_is_too_large_for_a_file_leaves_its_checkpoints_out(
    servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("localserve.engine.disk.shelf.LARGEST_BYTES", 4 * 1_400)
    first = servers.start(uncut())
    ask(first, LONG + b"\nhello\n", checkpoints=(300, 650))
    servers.stop(first)
    second = servers.start(uncut())
    again = ask(second, LONG + b"\nhello\n")
    assert cached(second, again) == 650


def test_room_is_made_for_what_is_read_and_for_no_more(servers: Servers) -> None:
    def runner() -> ScriptedRunner:
        return ScriptedRunner(cells=1_500, slots=3, cuts_anywhere=False, checkpoint_bytes=100_000)

    first = servers.start(runner())
    ask(first, LONG + b"\nhello\n", checkpoints=(650,))
    servers.stop(first)
    second = servers.start(runner(), max_running=2)
    for number in range(3):
        ask(second, b"%d" % number * 400 + b"\nother\n")
    again = ask(second, LONG + b"\nhello\n")
    assert cached(second, again) == 650


Made = Callable[[], ScriptedRunner]


@pytest.mark.parametrize("make", [lambda: ScriptedRunner(cells=4_000), uncut])
def test_what_was_dropped_is_read_back_by_the_same_server(servers: Servers, make: Made) -> None:
    rig = servers.start(make())
    sequence = ask(rig, LONG + b"\nhello\n", checkpoints=(300, 650))
    rig.save_all()
    for slot in list(rig.scheduler.cache.kept):
        rig.scheduler.cache._drop(slot)
    rig.check()
    again = ask(rig, LONG + b"\nhello\n", checkpoints=(300, 650))
    assert rig.text(again) == rig.text(sequence)
    assert cached(rig, again) >= 650


def test_tokens_that_nothing_is_known_of_find_nothing(servers: Servers) -> None:
    servers.start()
    assert servers.shelves[0].find("", token_array(*range(100))) is None
