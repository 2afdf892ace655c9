"""The engine's thread over a scripted runner."""

from __future__ import annotations

import asyncio
import gc
import logging
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from localserve.engine.disk import saving
from localserve.engine.disk.folder import PrefixFolder
from localserve.engine.disk.shelf import Shelf
from localserve.engine.engine import Engine, Mailbox
from localserve.engine.runner import DecodeFailed, Sampled, Slice, Unsampled
from localserve.engine.scheduler import Scheduler
from localserve.engine.scripted import ScriptedRunner
from localserve.engine.sequence import Admitted, Broken, Ended, GenerateRequest, SequenceEvent, Text
from localserve.errors import ContextOverflow, EngineFailed, ModelUnusable, Overloaded
from tests.engine.rig import request

PATIENCE_SECONDS = 20.0
"""Far more than anything here takes, even on a busy machine."""

OnRun = Callable[[Sequence[Slice]], None]


@asynccontextmanager
async def engine_of(
    runner: ScriptedRunner, *, max_running: int = 4, max_waiting: int = 64
) -> AsyncIterator[Engine[ScriptedRunner]]:
    engine = Engine("test", lambda: runner, max_running=max_running, max_waiting=max_waiting)
    await engine.start()
    try:
        yield engine
    finally:
        await engine.close()


async def take_all(mailbox: Mailbox, sequences: int = 1) -> dict[int, list[SequenceEvent]]:
    """Events by number, until so many sequences have ended."""
    events: dict[int, list[SequenceEvent]] = {}
    last = 0
    async with asyncio.timeout(PATIENCE_SECONDS):
        while last < sequences:
            for number, event in await mailbox.take():
                events.setdefault(number, []).append(event)
                last += isinstance(event, Ended | Broken)
    return events


async def answer(engine: Engine[ScriptedRunner], asked: GenerateRequest) -> list[SequenceEvent]:
    mailbox = Mailbox()
    number = engine.submit(asked, mailbox)
    return (await take_all(mailbox))[number]


def text_of(events: list[SequenceEvent]) -> str:
    return "".join(event.text for event in events if isinstance(event, Text))


def error_of(events: list[SequenceEvent]) -> Exception:
    last = events[-1]
    assert isinstance(last, Broken)
    return last.error


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not condition():  # noqa: ASYNC110 (the thread sets no event)
            await asyncio.sleep(0.002)


class Gate:
    """Holds the runner inside a step until it is opened or interrupted."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.opened = threading.Event()
        self.runner = ScriptedRunner(cells=4_096, on_run=self._wait)

    def _wait(self, batch: Sequence[Slice]) -> None:
        self.entered.set()
        for _ in range(int(PATIENCE_SECONDS / 0.002)):
            if self.opened.wait(0.002) or self.runner.interrupted.is_set():
                return

    async def held(self) -> None:
        await until(self.entered.is_set)


async def test_a_request_is_admitted_answered_and_ended() -> None:
    async with engine_of(ScriptedRunner()) as engine:
        events = await answer(engine, request(b"\nhello\n"))
    assert isinstance(events[0], Admitted)
    assert isinstance(events[-1], Ended)
    assert text_of(events) == "hello"


async def test_many_at_once_answer_as_one_alone_does() -> None:
    mailbox = Mailbox()
    runner = ScriptedRunner(cells=600)
    async with engine_of(runner, max_running=8) as engine:
        wanted = {
            engine.submit(request(b"\n" + b"%d" % (7**number) + b"\n"), mailbox): str(7**number)
            for number in range(40)
        }
        events = await take_all(mailbox, 40)
        assert {number: text_of(given) for number, given in events.items()} == wanted
        await until(lambda: engine.snapshot.running == 0)
    assert all(sampler.closed for sampler in runner.samplers)


async def test_everything_runs_on_the_engines_thread() -> None:
    threads: set[str] = set()
    runner = ScriptedRunner(on_run=lambda batch: threads.add(threading.current_thread().name))
    async with engine_of(runner) as engine:
        await answer(engine, request(b"\na\n"))
    assert threads == {"engine-test"}
    assert runner.closed


async def test_what_make_runner_raises_start_raises() -> None:
    def make_runner() -> ScriptedRunner:
        raise ModelUnusable("no such model")

    engine = Engine("test", make_runner, max_running=4)
    with pytest.raises(ModelUnusable):
        await engine.start()
    with pytest.raises(EngineFailed):
        engine.submit(request(b"\na\n"), Mailbox())
    assert not await engine.responsive(1.0)
    await engine.close()


async def test_what_make_shelf_raises_start_raises_and_the_runner_is_freed() -> None:
    runner = ScriptedRunner()

    def make_shelf(runner: ScriptedRunner) -> Shelf:
        raise OSError("no such folder")

    engine = Engine("test", lambda: runner, max_running=4, make_shelf=make_shelf)
    with pytest.raises(OSError, match="no such folder"):
        await engine.start()
    assert runner.closed
    await engine.close()


async def test_closing_while_the_runner_is_made_waits_for_it_and_frees_it() -> None:
    go_on = threading.Event()
    runner = ScriptedRunner()

    def make_runner() -> ScriptedRunner:
        go_on.wait(PATIENCE_SECONDS)
        return runner

    engine = Engine("test", make_runner, max_running=4)
    starting = asyncio.create_task(engine.start())
    await asyncio.sleep(0)
    closing = asyncio.create_task(engine.close())
    await asyncio.sleep(0.01)
    assert not closing.done()
    go_on.set()
    await closing
    await starting
    assert runner.closed


async def test_closing_ends_running_answers_and_frees_the_runner() -> None:
    gate = Gate()
    mailbox = Mailbox()
    engine = Engine("test", lambda: gate.runner, max_running=1)
    await engine.start()
    engine.submit(request(b"\nabc\n"), mailbox)
    engine.submit(request(b"\ndef\n"), mailbox)
    await gate.held()
    await engine.close()
    await engine.close()
    events = await take_all(mailbox, 2)
    assert all(isinstance(error_of(given), EngineFailed) for given in events.values())
    assert gate.runner.closed
    assert all(sampler.closed for sampler in gate.runner.samplers)
    with pytest.raises(EngineFailed):
        engine.submit(request(b"\nabc\n"), mailbox)


async def test_an_engine_that_never_started_can_be_closed() -> None:
    engine = Engine("test", ScriptedRunner, max_running=1)
    await engine.close()


async def test_an_unexpected_exception_breaks_everyone_and_stops_the_engine(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(scheduler: Scheduler) -> None:
        raise ZeroDivisionError("by chance")

    mailbox = Mailbox()
    runner = ScriptedRunner()
    async with engine_of(runner, max_running=1) as engine:
        monkeypatch.setattr(Scheduler, "schedule", fail)
        for prompt in (b"\na\n", b"\nb\n", b"\nc\n"):
            engine.submit(request(prompt), mailbox)
        events = await take_all(mailbox, 3)
        assert all("by chance" in str(error_of(given)) for given in events.values())
        await until(lambda: runner.closed)
        assert not engine.snapshot.alive
        assert not await engine.responsive(1.0)
        with pytest.raises(EngineFailed):
            engine.submit(request(b"\na\n"), mailbox)
    assert "by chance" in caplog.text


@pytest.mark.parametrize("failure", [DecodeFailed("by chance"), ZeroDivisionError("by chance")])
async def test_a_step_that_fails_breaks_its_sequences_and_the_next_are_served(
    failure: Exception,
) -> None:
    failures = iter([failure])

    def fail_once(batch: Sequence[Slice]) -> None:
        for failure in failures:
            raise failure

    async with engine_of(ScriptedRunner(on_run=fail_once)) as engine:
        broken = await answer(engine, request(b"\na\n"))
        assert isinstance(error_of(broken), EngineFailed)
        assert text_of(await answer(engine, request(b"\nb\n"))) == "b"


class UnluckyRunner(ScriptedRunner):
    """Finds no token for sequences whose prompt holds an exclamation mark."""

    def run(self, batch: Sequence[Slice]) -> list[list[Sampled | Unsampled]]:
        results = super().run(batch)
        return [
            [Unsampled("all is NaN")] if result and ord("!") in self.held(part.slot) else result
            for part, result in zip(batch, results, strict=True)
        ]


async def test_a_sequence_that_gets_no_token_fails_alone(caplog: pytest.LogCaptureFixture) -> None:
    runner = UnluckyRunner()
    mailbox = Mailbox()
    async with engine_of(runner) as engine:
        good, bad, other = engine.submit_all(
            [request(b"\nabc\n"), request(b"!\nabc\n"), request(b"\ndefg\n")], mailbox
        )
        events = await take_all(mailbox, 3)
        assert text_of(events[good]) == "abc"
        assert text_of(events[other]) == "defg"
        error = error_of(events[bad])
        assert isinstance(error, EngineFailed)
        assert "all is NaN" in error.message
        assert "--gpu-layers 0" in error.hint
        assert text_of(await answer(engine, request(b"\nagain\n"))) == "again"
    assert "all is NaN" in caplog.text
    assert all(sampler.closed for sampler in runner.samplers)


async def test_a_prompt_larger_than_the_pool_breaks_that_request_only() -> None:
    async with engine_of(ScriptedRunner(cells=64)) as engine:
        events = await answer(engine, request(b"x" * 65))
        assert isinstance(error_of(events), ContextOverflow)
        assert text_of(await answer(engine, request(b"\nb\n"))) == "b"


async def test_a_full_queue_breaks_the_newest_with_overloaded() -> None:
    gate = Gate()
    mailbox = Mailbox()
    async with engine_of(gate.runner, max_running=1, max_waiting=1) as engine:
        engine.submit(request(b"\na\n"), mailbox)
        await gate.held()
        engine.submit(request(b"\nb\n"), mailbox)
        late = engine.submit(request(b"\nc\n"), mailbox)
        gate.opened.set()
        events = await take_all(mailbox, 3)
    assert isinstance(error_of(events.pop(late)), Overloaded)
    assert sorted(map(text_of, events.values())) == ["a", "b"]


# Cancelling


async def test_a_cancelled_request_gives_out_nothing_more_and_frees_its_slot() -> None:
    gate = Gate()
    mailbox = Mailbox()
    async with engine_of(gate.runner) as engine:
        number = engine.submit(request(b"\n" + b"a" * 500 + b"\n"), mailbox)
        await gate.held()
        engine.cancel(number)
        await until(lambda: engine.snapshot.running == 0)
        gate.opened.set()
        assert text_of(await answer(engine, request(b"\nb\n"))) == "b"
    assert all(sampler.closed for sampler in gate.runner.samplers)


@asynccontextmanager
async def two_in_one_step(
    gate: Gate, mailbox: Mailbox
) -> AsyncIterator[tuple[Engine[ScriptedRunner], int, int]]:
    """An engine, and the numbers of two sequences that are in its step at the gate."""
    engine = Engine("test", lambda: gate.runner, max_running=2)
    first, second = (engine.submit(request(text), mailbox) for text in (b"\nxxx\n", b"\nyyy\n"))
    await engine.start()
    await gate.held()
    try:
        yield engine, first, second
    finally:
        await engine.close()


async def test_a_step_is_interrupted_when_all_its_sequences_are_cancelled() -> None:
    gate = Gate()
    async with two_in_one_step(gate, Mailbox()) as (engine, first, second):
        engine.cancel(first)
        engine.cancel(second)
        assert gate.runner.interrupted.is_set()
        await until(lambda: engine.snapshot.running == 0)
        assert gate.runner.computed_tokens == 0


async def test_a_step_is_not_interrupted_while_someone_waits_for_it() -> None:
    gate = Gate()
    mailbox = Mailbox()
    async with two_in_one_step(gate, mailbox) as (engine, first, second):
        engine.cancel(first)
        assert not gate.runner.interrupted.is_set()
        gate.opened.set()
        events = await take_all(mailbox)
    assert text_of(events[second]) == "yyy"


async def test_a_late_cancel_is_harmless() -> None:
    async with engine_of(ScriptedRunner()) as engine:
        mailbox = Mailbox()
        number = engine.submit(request(b"\na\n"), mailbox)
        await take_all(mailbox)
        engine.cancel(number)
        engine.cancel(number)
        engine.cancel(12_345)
        assert text_of(await answer(engine, request(b"\nb\n"))) == "b"
        assert not engine._cancelled


async def test_nothing_is_remembered_of_requests_that_are_over() -> None:
    mailbox = Mailbox()
    async with engine_of(ScriptedRunner()) as engine:
        numbers = [engine.submit(request(b"\nabc\n"), mailbox) for _ in range(20)]
        for number in numbers[::2]:
            engine.cancel(number)
        await take_all(mailbox, 10)
        await until(lambda: engine.snapshot.running == engine.snapshot.waiting == 0)
        assert await engine.responsive(PATIENCE_SECONDS)
        assert (engine._mailboxes, engine._cancelled, engine._sequences) == ({}, set(), {})


# Health


async def test_an_idle_engine_is_responsive() -> None:
    async with engine_of(ScriptedRunner()) as engine:
        assert await engine.responsive(PATIENCE_SECONDS)
        assert engine.step_age_seconds == 0.0


async def test_an_engine_in_a_young_step_is_responsive_and_in_an_old_one_is_not() -> None:
    gate = Gate()
    async with engine_of(gate.runner) as engine:
        engine.submit(request(b"\na\n"), Mailbox())
        await gate.held()
        assert await engine.responsive(0.0, step_seconds=PATIENCE_SECONDS)
        await asyncio.sleep(0.05)
        assert not await engine.responsive(0.0, step_seconds=0.01)
        assert engine.step_age_seconds > 0.01
        gate.opened.set()


async def test_an_engine_that_is_still_loading_is_not_responsive() -> None:
    go_on = threading.Event()

    def make_runner() -> ScriptedRunner:
        go_on.wait(PATIENCE_SECONDS)
        return ScriptedRunner()

    engine = Engine("test", make_runner, max_running=1)
    starting = asyncio.create_task(engine.start())
    await asyncio.sleep(0.01)
    assert not await engine.responsive(0.01)
    go_on.set()
    await starting
    await engine.close()


async def test_break_all_ends_every_answer_without_the_thread() -> None:
    gate = Gate()
    mailbox = Mailbox()
    async with engine_of(gate.runner, max_running=1) as engine:
        engine.submit(request(b"\na\n"), mailbox)
        engine.submit(request(b"\nb\n"), mailbox)
        await gate.held()
        engine.break_all(EngineFailed("about to abort"))
        events = await take_all(mailbox, 2)
        assert all("about to abort" in str(error_of(given)) for given in events.values())
        gate.opened.set()


# The hand-over


async def test_a_step_hands_over_all_its_events_in_one_call(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loop = asyncio.get_running_loop()
    calls = 0
    call_soon = loop.call_soon_threadsafe

    def count(*arguments: object, **options: object) -> asyncio.Handle:
        nonlocal calls
        calls += threading.current_thread().name == "engine-test"
        return call_soon(*arguments, **options)  # type: ignore[arg-type]

    gate = Gate()
    mailbox = Mailbox()
    async with engine_of(gate.runner, max_running=8) as engine:
        monkeypatch.setattr(loop, "call_soon_threadsafe", count)
        for number in range(4):
            engine.submit(request(b"\n%d-%s\n" % (number, b"a" * 100), max_tokens=80), mailbox)
        gate.opened.set()
        await take_all(mailbox, 4)
        steps = gate.runner.steps
        admissions = 4
    assert steps >= 80
    assert steps <= calls <= steps + admissions + 2


async def test_steps_are_counted_as_the_runner_ran_them() -> None:
    runner = ScriptedRunner()
    async with engine_of(runner) as engine:
        await answer(engine, request(b"\nabc\n"))
        for _ in range(5):
            await until(lambda: engine.snapshot.running == 0)
            assert await engine.responsive(PATIENCE_SECONDS)
        assert engine.snapshot.steps == runner.steps
        assert engine.snapshot.cells_used > 0


def test_a_loop_that_was_closed_does_not_stop_the_thread() -> None:
    gate = Gate()
    loop = asyncio.new_event_loop()

    async def begin() -> Engine[ScriptedRunner]:
        engine = Engine("test", lambda: gate.runner, max_running=1)
        await engine.start()
        engine.submit(request(b"\nabc\n"), Mailbox())
        await gate.held()
        return engine

    engine = loop.run_until_complete(begin())
    loop.close()
    gate.opened.set()
    for _ in range(int(PATIENCE_SECONDS / 0.01)):
        if engine.snapshot.steps and engine.snapshot.running == 0:
            break
        threading.Event().wait(0.01)
    assert engine.snapshot.alive
    closing = engine.close()
    closing.send(None)
    closing.close()
    engine._thread.join(PATIENCE_SECONDS)
    assert gate.runner.closed


async def test_an_engine_that_was_closed_can_be_collected() -> None:
    gc.collect()
    before = threading.active_count()
    async with engine_of(ScriptedRunner()) as engine:
        await answer(engine, request(b"\na\n"))
    engine._thread.join(PATIENCE_SECONDS)
    assert threading.active_count() <= before


async def test_a_failed_step_says_in_the_log_which_requests_it_was(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(slices: Sequence[Slice]) -> None:
        raise DecodeFailed("no")

    async with engine_of(ScriptedRunner(on_run=fail)) as engine:
        mailbox = Mailbox()
        asked = [replace(request(b"ab"), request_id=name) for name in ("req-2", "req-1")]
        engine.submit_all(asked, mailbox)
        await take_all(mailbox, 2)
    ids = {getattr(record, "request_id", "") for record in caplog.records}
    assert ids == {"req-1,req-2"} or ids == {"req-1", "req-2"}


LONG = bytes(range(32, 122)) * 7


async def warm_engine(folder: Path, **options: int) -> Engine[ScriptedRunner]:
    """An engine whose kept prefixes go to `folder`."""
    runner = ScriptedRunner(cells=4_000, **options)

    def make_shelf(runner: ScriptedRunner) -> Shelf:
        return Shelf(PrefixFolder(folder, 1 << 20), {}, cuttable=runner.cuts_anywhere)

    engine = Engine("test", lambda: runner, max_running=4, make_shelf=make_shelf)
    await engine.start()
    return engine


def files_in(folder: Path) -> int:
    return len(list(folder.glob("*/*.kv")))


def cached_tokens(events: list[SequenceEvent]) -> int:
    last = events[-1]
    assert isinstance(last, Ended)
    return last.cached_tokens


async def test_a_conversation_goes_on_in_the_next_engine(tmp_path: Path) -> None:
    first = await warm_engine(tmp_path)
    before = await answer(first, request(LONG + b"\nhello\n"))
    await first.close(PATIENCE_SECONDS)
    second = await warm_engine(tmp_path)
    assert second.snapshot.disk_bytes > 0
    mailbox = Mailbox()
    numbers = [second.submit(request(LONG + b"\n%d\n" % n), mailbox) for n in range(5)]
    events = await take_all(mailbox, 5)
    assert [text_of(events[number]) for number in numbers] == ["0", "1", "2", "3", "4"]
    assert min(cached_tokens(events[number]) for number in numbers) >= len(LONG)
    assert cached_tokens(before) == 0
    await second.close()


async def test_for_who_wants_nothing_reused_nothing_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await warm_engine(tmp_path)
    await answer(first, request(LONG + b"\nhello\n"))
    await first.close(PATIENCE_SECONDS)
    read: list[object] = []
    monkeypatch.setattr(Shelf, "read", lambda *these: read.append(these))
    second = await warm_engine(tmp_path)
    events = await answer(second, replace(request(LONG + b"\nhello\n"), reuse=False))
    assert (cached_tokens(events), read) == (0, [])
    await second.close()


async def test_without_time_nothing_is_written_at_the_end(tmp_path: Path) -> None:
    first = await warm_engine(tmp_path)
    await answer(first, request(LONG + b"\nhello\n"))
    await first.close()
    assert files_in(tmp_path) == 0


async def test_an_idle_engine_writes_and_still_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(saving, "IDLE_SECONDS", 0.0)
    engine = await warm_engine(tmp_path)
    await answer(engine, request(LONG + b"\nhello\n"))
    await until(lambda: files_in(tmp_path) == 3)
    assert await engine.responsive(PATIENCE_SECONDS)
    again = await answer(engine, request(LONG + b"\nhello\n"))
    assert text_of(again) == "hello"
    await engine.close()


async def test_leaving_while_a_prefix_is_read_lets_the_engine_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await warm_engine(tmp_path)
    await answer(first, request(LONG + b"\nhello\n"))
    await first.close(PATIENCE_SECONDS)
    monkeypatch.setattr(Shelf, "read", lambda *these: None)
    second = await warm_engine(tmp_path)
    number = second.submit(request(LONG + b"\nhello\n"), Mailbox())
    await until(lambda: second.snapshot.waiting == 1)
    assert await second.responsive(PATIENCE_SECONDS)
    assert second.step_age_seconds == 0.0
    second.cancel(number)
    await until(lambda: second.snapshot.waiting == 0)
    assert text_of(await answer(second, request(b"\nshort\n"))) == "short"
    await second.close()


async def test_what_goes_wrong_at_the_end_is_told_and_the_runner_is_freed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    runner = ScriptedRunner(cells=4_000)
    folder = PrefixFolder(tmp_path, 1 << 20)
    engine = Engine(
        "test",
        lambda: runner,
        max_running=4,
        make_shelf=lambda runner: Shelf(folder, {}, cuttable=True),
    )
    await engine.start()
    await answer(engine, request(LONG + b"\nhello\n"))

    def fail(*these: object) -> None:
        raise RuntimeError("by chance")

    monkeypatch.setattr(runner, "copy_out", fail)
    with caplog.at_level(logging.ERROR):
        await engine.close(PATIENCE_SECONDS)
    assert "could not be written" in caplog.text
    assert runner.closed
