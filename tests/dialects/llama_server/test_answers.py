"""From events to the objects of `/completion` and `/infill`."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from localserve.chat import (
    DEFAULT_SAMPLING,
    Accepted,
    AnswerProgress,
    ChatEvent,
    Completed,
    Finished,
    Generation,
    PromptProgress,
    TextDelta,
    Timings,
    TokenLogprob,
    Usage,
)
from localserve.dialects.llama_server import NativeAnswer
from localserve.dialects.llama_server.asked import Telling
from localserve.dialects.timings import timing_fields
from localserve.errors import EngineFailed

USAGE = Usage(10, 4, cached_tokens=6)
TIMES = Timings(1.0, 20.0, 100.0, timed_tokens=3)
DONE = Completed(USAGE, TIMES)
STREAM = Telling(stream=True, tokens=True)
WHOLE = Telling()


def accepted(**fields: Any) -> Accepted:
    generation = Generation(DEFAULT_SAMPLING, max_tokens=4, stop=("X",))
    given = {"generation": generation, "context_tokens": 100, "prompts": ("<s>a",), **fields}
    return Accepted("m", 10, **given)


def finished(choice: int = 0, reason: Any = "stop", stop_text: str | None = None) -> Finished:
    return Finished(choice, reason, stop_text, USAGE, TIMES)


def body(
    *middle: ChatEvent, telling: Telling = WHOLE, end: Finished | None = None, **fields: Any
) -> dict[str, Any]:
    answer = NativeAnswer(choices=1, telling=telling)
    events = [accepted(**fields), *middle, end or finished(), DONE]
    whole: dict[str, Any] = json.loads(answer.body(events))
    return whole


def streamed(
    *steps: list[ChatEvent], telling: Telling = STREAM, choices: int = 1
) -> list[dict[str, Any]]:
    answer = NativeAnswer(choices=choices, telling=telling)
    text = "".join(answer.stream(step) for step in steps)
    blocks = text.split("\n\n")
    assert blocks.pop() == ""
    return [json.loads(block.removeprefix("data: ")) for block in blocks]


def test_a_whole_answer_tells_all_numbers() -> None:
    whole = body(TextDelta(0, "He"), TextDelta(0, "y"))
    settings = whole.pop("generation_settings")
    timings = whole.pop("timings")
    assert whole == {
        "index": 0,
        "content": "Hey",
        "tokens": [],
        "id_slot": -1,
        "stop": True,
        "model": "m",
        "tokens_predicted": 4,
        "tokens_evaluated": 10,
        "prompt": "<s>a",
        "has_new_line": False,
        "truncated": False,
        "stop_type": "eos",
        "stopping_word": "",
        "tokens_cached": 13,
    }
    assert (timings["cache_n"], timings["prompt_n"], timings["predicted_n"]) == (6, 4, 4)
    assert (timings["prompt_per_second"], timings["predicted_per_second"]) == (200.0, 30.0)
    assert (timings["prompt_per_token_ms"], timings["predicted_per_token_ms"]) == (5.0, 33.333)
    assert (settings["n_ctx"], settings["n_predict"], settings["stop"]) == (100, 4, ["X"])
    assert (settings["temperature"], settings["seed"]) == (0.8, 0xFFFFFFFF)
    assert settings["samplers"][-1] == "temperature"


@pytest.mark.parametrize(
    ("end", "kind", "word"),
    [
        (finished(), "eos", ""),
        (finished(stop_text="X"), "word", "X"),
        (finished(reason="length"), "limit", ""),
    ],
)
def test_why_an_answer_ended(end: Finished, kind: str, word: str) -> None:
    whole = body(end=end)
    assert (whole["stop_type"], whole["stopping_word"]) == (kind, word)


def test_a_full_context_is_told_and_so_is_what_had_no_room() -> None:
    assert body(end=finished(reason="length"), context_tokens=14)["truncated"] is True
    assert body(end=finished(reason="length"), context_tokens=15)["truncated"] is False
    assert body(left_out_tokens=1)["truncated"] is True


def test_tokens_come_when_they_are_asked_for() -> None:
    delta = TextDelta(0, "a\n", tokens=(7, 8))
    assert body(delta)["tokens"] == []
    whole = body(delta, telling=Telling(tokens=True))
    assert (whole["tokens"], whole["has_new_line"]) == ([7, 8], True)


def test_probabilities_come_when_they_are_asked_for() -> None:
    other = TokenLogprob(9, "b", b"b", float("-inf"))
    first = TokenLogprob(7, "\ufffd", b"\xc3", -0.5, (other,))
    whole = body(TextDelta(0, "a", (first,)), telling=Telling(probabilities=1))
    assert whole["completion_probabilities"] == [
        {
            "id": 7,
            "token": "\ufffd",
            "bytes": [0xC3],
            "logprob": -0.5,
            "top_logprobs": [{"id": 9, "token": "b", "bytes": [98], "logprob": -9999.0}],
        }
    ]
    assert "completion_probabilities" not in body(TextDelta(0, "a"))


def test_several_answers_are_a_list_and_each_has_its_own_prompt() -> None:
    answer = NativeAnswer(choices=4, telling=Telling())
    texts = [TextDelta(choice, f"{choice}") for choice in range(4)]
    ends = [finished(choice) for choice in range(4)]
    whole = json.loads(answer.body([accepted(prompts=("p", "q")), *texts, *ends, DONE]))
    assert [one["index"] for one in whole] == [0, 1, 2, 3]
    assert [one["content"] for one in whole] == ["0", "1", "2", "3"]
    assert [one["prompt"] for one in whole] == ["p", "p", "q", "q"]


def test_fields_are_chosen_and_unnested() -> None:
    paths = ("content", "timings/prompt_n", "generation_settings/n_ctx", "no/such", "", "stop/x")
    assert body(TextDelta(0, "a"), telling=Telling(fields=paths)) == {
        "content": "a",
        "timings/prompt_n": 4,
        "generation_settings/n_ctx": 100,
    }


def test_a_stream_has_texts_then_an_end_with_the_numbers() -> None:
    first, second, last = streamed(
        [accepted()],
        [TextDelta(0, "He", tokens=(1, 2))],
        [TextDelta(0, "y", tokens=(3,)), finished(), DONE],
    )
    assert (first["content"], first["tokens"], first["stop"]) == ("He", [1, 2], False)
    assert (first["tokens_predicted"], first["tokens_evaluated"]) == (2, 10)
    assert (second["content"], second["tokens_predicted"]) == ("y", 3)
    assert (last["content"], last["tokens"], last["stop"]) == ("", [], True)
    assert last["timings"]["predicted_n"] == 4
    assert "timings" not in first


def test_what_comes_at_once_is_one_object_a_choice() -> None:
    step: list[ChatEvent] = [TextDelta(0, "a"), TextDelta(1, "x"), TextDelta(0, "b")]
    objects = streamed([accepted()], step, choices=2)
    assert [(one["index"], one["content"]) for one in objects] == [(0, "ab"), (1, "x")]


def test_every_object_of_a_stream_has_content_and_stop() -> None:
    """Clients read both without looking whether they are there."""
    progress = PromptProgress(0, 10, 6, 6, 1.0)
    objects = streamed(
        [accepted(), progress],
        [TextDelta(0, "a"), finished(), DONE],
        telling=Telling(stream=True, progress=True),
    )
    assert all(isinstance(one["content"], str) for one in objects)
    assert [one["stop"] for one in objects] == [False, False, True]


def test_progress_is_told_where_it_is_asked_for() -> None:
    steps: list[list[ChatEvent]] = [
        [accepted(), PromptProgress(0, 10, 6, 6, 0.0)],
        [PromptProgress(0, 10, 6, 10, 12.4)],
    ]
    told = streamed(*steps, telling=Telling(stream=True, progress=True))
    assert [one["prompt_progress"] for one in told] == [
        {"total": 10, "cache": 6, "processed": 6, "time_ms": 0},
        {"total": 10, "cache": 6, "processed": 10, "time_ms": 12},
    ]
    assert streamed(*steps) == []


def test_times_so_far_come_with_every_text_where_they_are_asked_for() -> None:
    first, last = streamed(
        [accepted(), PromptProgress(0, 10, 6, 10, 20.0)],
        [AnswerProgress(0, 3, 50.0), TextDelta(0, "a", tokens=(1, 2, 3))],
        [finished(), DONE],
        telling=Telling(stream=True, tokens=True, timings=True),
    )
    so_far = first["timings"]
    assert (so_far["cache_n"], so_far["prompt_n"], so_far["prompt_ms"]) == (6, 4, 20.0)
    assert (so_far["predicted_n"], so_far["predicted_ms"]) == (3, 50.0)
    assert so_far["predicted_per_second"] == 40.0
    assert last["timings"]["predicted_ms"] == 100.0


def test_chosen_fields_are_those_of_the_last_object() -> None:
    first, last = streamed(
        [accepted()],
        [TextDelta(0, "a")],
        [finished(), DONE],
        telling=Telling(stream=True, fields=("stop",)),
    )
    assert first["content"] == "a"
    assert last == {"stop": True}


def test_a_stream_that_fails_ends_with_an_error() -> None:
    text = NativeAnswer(choices=1, telling=STREAM).stream_error(EngineFailed("It stopped."))
    error = json.loads(text.removeprefix("data: "))["error"]
    assert error["code"] == 503
    assert (error["message"], error["type"]) == ("It stopped.", "unavailable_error")


def test_no_line_of_a_stream_ends_early() -> None:
    answer = NativeAnswer(choices=1, telling=STREAM)
    answer.stream([accepted()])
    assert answer.stream([TextDelta(0, "a\u2028b\r\n")]).count("\n") == 2


def test_what_was_guessed_ahead_is_told_where_anything_was() -> None:
    assert "draft_n" not in timing_fields(USAGE, TIMES)
    told = timing_fields(USAGE, replace(TIMES, guessed_tokens=12, right_tokens=9))
    assert (told["draft_n"], told["draft_n_accepted"]) == (12, 9)
