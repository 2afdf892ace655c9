"""From events to frames and bodies."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from localserve.chat import (
    Accepted,
    ArgumentsDelta,
    ChatEvent,
    Completed,
    Finished,
    ReasoningDelta,
    TextDelta,
    Timings,
    TokenLogprob,
    ToolCallBegun,
    Usage,
)
from localserve.dialects.openai import Answer, ChatAnswer, CompletionAnswer
from localserve.dialects.openai.frames import merge_texts

DONE = Completed(Usage(10, 4, cached_tokens=6), Timings(1.0, 20.0, 100.0, timed_tokens=3))


def events(*middle: ChatEvent, choices: int = 1) -> list[ChatEvent]:
    ends = [Finished(choice, "stop") for choice in range(choices)]
    return [Accepted("m", 10), *middle, *ends, DONE]


def make(kind: type[Answer], *, choices: int = 1, include_usage: bool = False) -> Answer:
    return kind(choices=choices, include_usage=include_usage, fingerprint="f")


def streamed(answer: Answer, steps: Sequence[ChatEvent]) -> list[dict[str, Any]]:
    """The frames when each event comes alone."""
    return [json.loads(frame) for step in steps for frame in answer.frames([step])]


def token(text: str, logprob: float = -0.5, top: tuple[TokenLogprob, ...] = ()) -> TokenLogprob:
    return TokenLogprob(7, text, text.encode(), logprob, top)


def test_a_chat_stream_has_a_role_then_content_then_one_reason() -> None:
    frames = streamed(make(ChatAnswer), events(TextDelta(0, "He"), TextDelta(0, "y")))
    choices = [frame["choices"][0] for frame in frames]
    assert [choice["delta"] for choice in choices] == [
        {"role": "assistant", "content": ""},
        {"content": "He"},
        {"content": "y"},
        {},
    ]
    assert [choice["finish_reason"] for choice in choices] == [None, None, None, "stop"]
    assert all("usage" not in frame for frame in frames)


@pytest.mark.parametrize("kind", [ChatAnswer, CompletionAnswer])
def test_id_time_and_model_are_the_same_throughout(kind: type[Answer]) -> None:
    frames = streamed(make(kind, include_usage=True), events(TextDelta(0, "a")))
    heads = {(frame["id"], frame["created"], frame["model"]) for frame in frames}
    assert len(heads) == 1
    assert {frame["system_fingerprint"] for frame in frames} == {"f"}
    assert frames[0]["model"] == "m"


@pytest.mark.parametrize("kind", [ChatAnswer, CompletionAnswer])
def test_usage_comes_only_in_a_last_frame_without_choices(kind: type[Answer]) -> None:
    *others, last = streamed(make(kind, include_usage=True), events(TextDelta(0, "a")))
    assert last["choices"] == []
    assert last["usage"] == {
        "prompt_tokens": 10,
        "completion_tokens": 4,
        "total_tokens": 14,
        "prompt_tokens_details": {"cached_tokens": 6},
    }
    assert last["timings"]["prompt_n"] == 4
    assert last["timings"]["prompt_per_second"] == 200.0
    assert last["timings"]["predicted_per_second"] == 30.0
    assert all("usage" not in frame for frame in others)


def test_what_comes_at_once_becomes_one_frame_a_choice() -> None:
    answer = make(ChatAnswer, choices=2)
    list(answer.frames([Accepted("m", 1)]))
    together: list[ChatEvent] = [
        TextDelta(0, "a"),
        TextDelta(1, "x"),
        TextDelta(0, "b"),
        Finished(0, "length"),
    ]
    frames = [json.loads(frame)["choices"][0] for frame in answer.frames(together)]
    assert [(one["index"], one["delta"], one["finish_reason"]) for one in frames] == [
        (0, {"content": "ab"}, None),
        (0, {}, "length"),
        (1, {"content": "x"}, None),
    ]


def test_texts_with_log_probabilities_are_not_merged() -> None:
    plain, scored = TextDelta(0, "a"), TextDelta(0, "b", (token("b"),))
    assert list(merge_texts([plain, plain, scored, scored])) == [
        TextDelta(0, "aa"),
        scored,
        scored,
    ]


CALLS: list[ChatEvent] = [
    ReasoningDelta(0, "So "),
    ReasoningDelta(0, "be it."),
    TextDelta(0, "I look."),
    ToolCallBegun(0, 0, "a1", "look"),
    ArgumentsDelta(0, 0, '{"at": '),
    ArgumentsDelta(0, 0, '"it"}'),
    ToolCallBegun(0, 1, "a2", "now"),
    ArgumentsDelta(0, 1, "{}"),
]


def test_reasoning_and_calls_are_streamed_apart_from_content() -> None:
    frames = streamed(make(ChatAnswer), [Accepted("m", 1), *CALLS, Finished(0, "tool_calls")])
    deltas = [frame["choices"][0]["delta"] for frame in frames]
    assert deltas[1:4] == [
        {"reasoning_content": "So "},
        {"reasoning_content": "be it."},
        {"content": "I look."},
    ]
    calls = [delta["tool_calls"][0] for delta in deltas[4:-1]]
    function = {"name": "look", "arguments": ""}
    assert calls[0] == {"index": 0, "id": "a1", "type": "function", "function": function}
    assert calls[1:3] == [
        {"index": 0, "function": {"arguments": '{"at": '}},
        {"index": 0, "function": {"arguments": '"it"}'}},
    ]
    assert (calls[3]["index"], calls[3]["function"]["name"]) == (1, "now")
    assert frames[-1]["choices"][0]["finish_reason"] == "tool_calls"


def test_only_neighbours_of_a_kind_are_joined() -> None:
    assert list(merge_texts(CALLS)) == [
        ReasoningDelta(0, "So be it."),
        TextDelta(0, "I look."),
        ToolCallBegun(0, 0, "a1", "look"),
        ArgumentsDelta(0, 0, '{"at": "it"}'),
        ToolCallBegun(0, 1, "a2", "now"),
        ArgumentsDelta(0, 1, "{}"),
    ]


def test_a_whole_answer_has_its_reasoning_and_calls_beside_the_content() -> None:
    answer = make(ChatAnswer).body([Accepted("m", 1), *CALLS, Finished(0, "tool_calls"), DONE])
    choice = json.loads(answer)["choices"][0]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"] == {
        "role": "assistant",
        "content": "I look.",
        "reasoning_content": "So be it.",
        "tool_calls": [
            {
                "id": "a1",
                "type": "function",
                "function": {"name": "look", "arguments": '{"at": "it"}'},
            },
            {"id": "a2", "type": "function", "function": {"name": "now", "arguments": "{}"}},
        ],
    }


def test_content_is_null_where_there_are_only_calls() -> None:
    calls = [ToolCallBegun(0, 0, "a", "now"), Finished(0, "tool_calls"), DONE]
    message = json.loads(make(ChatAnswer).body([Accepted("m", 1), *calls]))["choices"][0]["message"]
    assert message["content"] is None


def test_an_empty_text_makes_no_frame() -> None:
    answer = make(CompletionAnswer)
    assert list(answer.frames([Accepted("m", 1), TextDelta(0, "")])) == []


@pytest.mark.parametrize(
    "text", ['"', "\\", "\n", "\r", "\x00", "\u2028", "\x85", "é", "😀", "</s>"]
)
def test_any_text_is_one_line_of_ascii(text: str) -> None:
    answer = make(ChatAnswer)
    list(answer.frames([Accepted("m", 1)]))
    (frame,) = answer.frames([TextDelta(0, text)])
    assert frame.isascii()
    assert frame.splitlines() == [frame]
    assert json.loads(frame)["choices"][0]["delta"]["content"] == text


def test_a_whole_chat_answer() -> None:
    body = json.loads(make(ChatAnswer).body(events(TextDelta(0, "He"), TextDelta(0, "y"))))
    assert body["object"] == "chat.completion"
    assert body["choices"] == [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "Hey"},
            "logprobs": None,
            "finish_reason": "stop",
        }
    ]
    assert body["usage"]["total_tokens"] == 14
    assert body["timings"]["cache_n"] == 6


def test_a_whole_completion_has_all_its_choices_in_order() -> None:
    deltas = [TextDelta(1, "x"), TextDelta(0, "a"), TextDelta(1, "y")]
    body = json.loads(make(CompletionAnswer, choices=2).body(events(*deltas, choices=2)))
    assert body["object"] == "text_completion"
    assert [(one["index"], one["text"]) for one in body["choices"]] == [(0, "a"), (1, "xy")]


def test_chat_log_probabilities_have_token_bytes_and_alternatives() -> None:
    delta = TextDelta(0, "é", (token("é", -0.5, (token("é", -0.5), token("e", -1.0))),))
    expected = {
        "content": [
            {
                "token": "é",
                "logprob": -0.5,
                "bytes": [195, 169],
                "top_logprobs": [
                    {"token": "é", "logprob": -0.5, "bytes": [195, 169]},
                    {"token": "e", "logprob": -1.0, "bytes": [101]},
                ],
            }
        ]
    }
    body = json.loads(make(ChatAnswer).body(events(delta)))
    assert body["choices"][0]["logprobs"] == expected
    frames = streamed(make(ChatAnswer), events(delta))
    assert frames[1]["choices"][0]["logprobs"] == expected


def test_legacy_log_probabilities_count_characters_from_the_start() -> None:
    first = TextDelta(0, "ab", (token("a"), token("b")))
    second = TextDelta(0, "cd", (token("cd", top=(token("cd"), token("x", -2.0))),))
    body = json.loads(make(CompletionAnswer).body(events(first, second)))
    assert body["choices"][0]["logprobs"] == {
        "tokens": ["a", "b", "cd"],
        "token_logprobs": [-0.5, -0.5, -0.5],
        "top_logprobs": [{}, {}, {"cd": -0.5, "x": -2.0}],
        "text_offset": [0, 1, 2],
    }
    frames = streamed(make(CompletionAnswer), events(first, second))
    offsets = [one["logprobs"]["text_offset"] for f in frames if (one := f["choices"][0])["text"]]
    assert offsets == [[0, 1], [2]]


def test_legacy_offsets_count_a_character_of_several_tokens_once() -> None:
    raws = (b"a", b"\xf0\x9f", b"\x98", b"\x80", "é".encode(), b"b")
    pieces = [
        TokenLogprob(n, raw.decode(errors="replace"), raw, -0.5) for n, raw in enumerate(raws)
    ]
    delta = TextDelta(0, "a😀éb", tuple(pieces))
    body = json.loads(make(CompletionAnswer).body(events(delta)))
    assert body["choices"][0]["logprobs"]["text_offset"] == [0, 1, 1, 1, 2, 3]
    parts = [
        TextDelta(0, text, tuple(pieces[at]))
        for text, at in (("a😀", slice(0, 4)), ("éb", slice(4, 6)))
    ]
    frames = streamed(make(CompletionAnswer), events(*parts))
    offsets = [one["logprobs"]["text_offset"] for f in frames if (one := f["choices"][0])["text"]]
    assert offsets == [[0, 1, 1, 1], [2, 3]]


def test_legacy_names_of_broken_characters_differ() -> None:
    pieces = tuple(TokenLogprob(n, "\ufffd", bytes([0xC0 + n]), -1.0) for n in (1, 2))
    delta = TextDelta(0, "?", (TokenLogprob(1, "\ufffd", b"\xc1", -1.0, pieces),))
    body = json.loads(make(CompletionAnswer).body(events(delta)))
    assert list(body["choices"][0]["logprobs"]["top_logprobs"][0]) == [
        "bytes:\\xc1",
        "bytes:\\xc2",
    ]


@pytest.mark.parametrize("logprob", [float("-inf"), float("nan"), -1e30])
def test_log_probabilities_are_always_json(logprob: float) -> None:
    delta = TextDelta(0, "a", (token("a", logprob),))
    text = make(ChatAnswer).body(events(delta))
    assert "Infinity" not in text
    assert "NaN" not in text


def test_no_time_measured_is_no_rate() -> None:
    done = Completed(Usage(1, 0), Timings())
    body = json.loads(make(ChatAnswer).body([Accepted("m", 1), Finished(0, "stop"), done]))
    assert body["timings"]["predicted_per_second"] == 0.0
