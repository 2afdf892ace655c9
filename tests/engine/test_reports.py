"""What is told of an answer besides its text, and what else a request may ask of the engine."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

import pytest

from localserve.chat import Report
from localserve.engine.engine import Engine, Mailbox
from localserve.engine.scripted import END, ScriptedRunner
from localserve.engine.sequence import Ended, Progressed, SequenceEvent, Text
from tests.engine.rig import Rig, request


def progress_of(events: list[SequenceEvent]) -> list[tuple[int, int, int]]:
    """Prompt tokens, those that were there before, those that are computed."""
    return [
        (event.prompt_tokens, event.cached_tokens, event.computed_tokens)
        for event in events
        if isinstance(event, Progressed)
    ]


def test_the_prompt_tells_how_far_it_is_step_by_step() -> None:
    rig = Rig(ScriptedRunner(batch_tokens=64))
    prompt = b"x" * 149 + b"\n"
    sequence = rig.submit(replace(request(prompt, max_tokens=1), report=Report(progress=True)))
    rig.finish()
    told = progress_of(rig.events[sequence.number])
    assert told[0] == (150, 0, 0)
    assert told[-1] == (150, 0, 150)
    computed = [at for _, _, at in told]
    assert computed == sorted(set(computed))
    assert len(told) >= 3


def test_a_prompt_that_was_computed_before_tells_so_at_once() -> None:
    rig = Rig()
    prompt = b"y" * 99 + b"\n"
    rig.submit(request(prompt, max_tokens=1))
    rig.finish()
    again = rig.submit(replace(request(prompt, max_tokens=1), report=Report(progress=True)))
    rig.finish()
    assert progress_of(rig.events[again.number]) == [(100, 99, 99), (100, 99, 100)]


def test_a_request_without_reuse_computes_its_whole_prompt_and_serves_the_next() -> None:
    rig = Rig()
    prompt = b"y" * 99 + b"\n"
    for reuse, cached in ((True, 0), (False, 0), (True, 99)):
        sequence = rig.submit(replace(request(prompt, max_tokens=1), reuse=reuse))
        rig.finish()
        end = rig.events[sequence.number][-1]
        assert isinstance(end, Ended)
        assert end.cached_tokens == cached


def test_ids_of_tokens_come_with_the_text_that_they_end_in() -> None:
    rig = Rig()
    sequence = rig.submit(replace(request("\nüx\n".encode()), report=Report(tokens=True)))
    rig.finish()
    texts = [event for event in rig.events[sequence.number] if isinstance(event, Text)]
    assert "".join(event.text for event in texts) == "üx"
    tokens = [token for event in texts for token in event.tokens]
    assert tokens == [*"üx".encode(), END]


def test_no_ids_are_told_unasked() -> None:
    rig = Rig()
    sequence = rig.submit(request(b"\nab\n", top_logprobs=1))
    rig.finish()
    texts = [event for event in rig.events[sequence.number] if isinstance(event, Text)]
    assert all(event.scored and not event.tokens for event in texts)


def lines(text: bytes) -> int:
    """A script that writes lines of one letter for ever."""
    return ord("\n") if text.endswith(b"a") else ord("a")


@pytest.mark.parametrize(("seconds", "length"), [(-1.0, 2), (3600.0, 10)])
def test_the_first_line_that_ends_after_the_time_is_the_last(seconds: float, length: int) -> None:
    """A negative time has passed when the first token is there."""
    rig = Rig(ScriptedRunner(script=lines))
    sequence = rig.submit(replace(request(b"x", max_tokens=10), line_seconds=seconds))
    rig.finish()
    end = rig.events[sequence.number][-1]
    assert isinstance(end, Ended)
    assert (end.reason, end.completion_tokens) == ("length", length)


def test_a_short_indentation_ends_an_answer_by_its_length() -> None:
    rig = Rig(ScriptedRunner(script=lines))
    sequence = rig.submit(replace(request(b"x", max_tokens=10), min_indent=2))
    rig.finish()
    events = rig.events[sequence.number]
    end = events[-1]
    assert isinstance(end, Ended)
    assert end.reason == "length"
    assert "".join(event.text for event in events if isinstance(event, Text)) == "a\n"


async def test_running_answers_can_be_looked_at() -> None:
    runner = ScriptedRunner(script=lambda text: ord("a"), on_run=lambda slices: time.sleep(0.01))
    engine = Engine("test", lambda: runner, max_running=4)
    await engine.start()
    try:
        assert await engine.look(20.0) == ()
        mailbox = Mailbox()
        engine.submit(request(b"xyz", max_tokens=900), mailbox)
        while not any(isinstance(event, Text) for _, event in await mailbox.take()):
            pass
        (view,) = await engine.look(20.0)
        assert (view.prompt_tokens, view.computed_tokens, view.cached_tokens) == (3, 3, 0)
        assert view.answer_tokens >= 1
        assert view.answer_tokens + view.answer_tokens_left == 900
        assert view.max_tokens == 900
    finally:
        await engine.close()
    await asyncio.sleep(0)


def test_a_view_says_whether_a_line_ended() -> None:
    rig = Rig(ScriptedRunner(script=lines))
    sequence = rig.submit(request(b"x", max_tokens=4))
    rig.step()
    assert (sequence.view().answer_tokens, sequence.view().has_new_line) == (1, False)
    rig.step()
    assert (sequence.view().answer_tokens, sequence.view().has_new_line) == (2, True)
