"""From the body of a chat request to the inner vocabulary."""

from __future__ import annotations

import json
from typing import Any

import pytest

from localserve.chat import ChatRequest, Message, Priority, ToolCall
from localserve.dialects.bounds import MAX_PENALTY_WINDOW_TOKENS
from localserve.dialects.openai import parse_chat
from localserve.dialects.openai.refusals import REFUSED
from localserve.errors import InvalidRequest, InvalidSchema, UnsupportedField

HELLO = [{"role": "user", "content": "Hello"}]


def body(**fields: Any) -> bytes:
    return json.dumps({"model": "m", "messages": HELLO} | fields).encode()


def request(**fields: Any) -> ChatRequest:
    return parse_chat(body(**fields)).request


def messages(*wire: dict[str, Any]) -> tuple[Message, ...]:
    return request(messages=list(wire)).messages


def test_the_smallest_body_asks_for_one_answer_with_all_defaults() -> None:
    asked = parse_chat(b'{"messages": [{"role": "user", "content": "Hello"}]}')
    assert asked.request == ChatRequest("", (Message("user", "Hello"),))
    assert (asked.choices, asked.stream, asked.include_usage) == (1, False, False)


def test_content_parts_are_joined_by_line_breaks() -> None:
    parts = [
        {"type": "text", "text": "one", "cache_control": {"type": "ephemeral"}},
        {"type": "text", "text": "two"},
    ]
    assert messages({"role": "user", "content": parts}) == (Message("user", "one\ntwo"),)


def test_a_developer_speaks_as_the_system() -> None:
    assert messages({"role": "developer", "content": "Be brief."})[0].role == "system"


@pytest.mark.parametrize("wire", [{"content": None}, {}, {"content": []}, {"content": ""}])
def test_missing_content_is_empty_text(wire: dict[str, Any]) -> None:
    assert messages({"role": "assistant", **wire})[0].content == ""


@pytest.mark.parametrize(
    ("content", "kept"), [(None, None), ("", ""), (" ", " "), ("Let me look.", "Let me look.")]
)
def test_content_beside_tool_calls_stays_as_it_is(content: str | None, kept: str | None) -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
    message = messages({"role": "assistant", "content": content, "tool_calls": [call]})[0]
    assert message.content == kept
    assert message.tool_calls == (ToolCall("c1", "f", '{"a": 1}'),)


def test_arguments_may_be_an_object_or_missing() -> None:
    calls = [{"function": {"name": "f", "arguments": {"ä": 1}}}, {"function": {"name": "g"}}]
    message = messages({"role": "assistant", "tool_calls": calls})[0]
    assert message.tool_calls == (ToolCall("", "f", '{"ä": 1}'), ToolCall("", "g", "{}"))


def test_the_old_function_form_is_read_as_tool_calls() -> None:
    assistant, answer = messages(
        {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}},
        {"role": "function", "name": "f", "content": "7"},
    )
    assert assistant.tool_calls == (ToolCall("", "f", "{}"),)
    assert (answer.role, answer.name, answer.content) == ("tool", "f", "7")


def test_a_tool_answers_in_parts() -> None:
    parts = [{"type": "text", "text": "7"}]
    wire = {"role": "tool", "tool_call_id": "c1", "content": parts}
    assert messages(wire) == (Message("tool", "7", tool_call_id="c1"),)


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning"])
def test_reasoning_comes_back_under_either_name(name: str) -> None:
    wire = {"role": "assistant", "content": "4", name: "2 + 2"}
    assert messages(wire)[0].reasoning == "2 + 2"


def test_reasoning_that_is_no_text_is_not_used() -> None:
    wire = {"role": "assistant", "content": "4", "reasoning": {"effort": "low"}}
    assert messages(wire)[0].reasoning is None


@pytest.mark.parametrize(
    ("fields", "limit"),
    [
        ({}, None),
        ({"max_tokens": 5}, 5),
        ({"max_completion_tokens": 6}, 6),
        ({"n_predict": 7}, 7),
        ({"max_tokens": 5, "max_completion_tokens": 6}, 5),
        ({"max_tokens": 0}, 0),
        ({"max_tokens": 0, "max_completion_tokens": 6}, 0),
        ({"max_tokens": -1, "n_predict": 0}, 0),
        ({"max_tokens": -1}, None),
        ({"max_tokens": -1, "max_completion_tokens": 6}, 6),
        ({"max_tokens": None}, None),
        ({"max_tokens": 10**15}, 10**15),
    ],
)
def test_the_smallest_limit_counts(fields: dict[str, Any], limit: int | None) -> None:
    assert request(**fields).generation.max_tokens == limit


@pytest.mark.parametrize(
    ("stop", "stops"),
    [(None, ()), ("a", ("a",)), (["a", "b", "a"], ("a", "b")), ("", ()), (["", "a"], ("a",))],
)
def test_stop_is_a_text_or_a_list(stop: Any, stops: tuple[str, ...]) -> None:
    assert request(stop=stop).generation.stop == stops


def test_every_way_to_sample_is_read() -> None:
    sampling = request(
        temperature=0,
        top_p=0.5,
        top_k=3,
        min_p=0.1,
        typical_p=0.9,
        repetition_penalty=1.1,
        repeat_last_n=-1,
        frequency_penalty=-2,
        presence_penalty=2,
        logit_bias={"15": -100, "7": 1.5},
        seed=42,
    ).generation.sampling
    assert sampling.temperature == 0
    assert (sampling.top_p, sampling.top_k, sampling.min_p) == (0.5, 3, 0.1)
    assert (sampling.typical_p, sampling.repeat_penalty) == (0.9, 1.1)
    assert sampling.repeat_last_n == MAX_PENALTY_WINDOW_TOKENS
    assert (sampling.frequency_penalty, sampling.presence_penalty) == (-2, 2)
    assert sampling.logit_bias == ((15, -100.0), (7, 1.5))
    assert sampling.seed == 42


@pytest.mark.parametrize(
    ("seed", "kept"), [(-1, None), (None, None), (0, 0), (-2, 2**32 - 2), (2**32 + 5, 5)]
)
def test_a_seed_is_an_unsigned_number_of_32_bits(seed: int | None, kept: int | None) -> None:
    assert request(seed=seed).generation.sampling.seed == kept


@pytest.mark.parametrize(
    ("fields", "top_logprobs"),
    [
        ({}, None),
        ({"logprobs": False, "top_logprobs": 0}, None),
        ({"logprobs": True}, 0),
        ({"logprobs": True, "top_logprobs": 20}, 20),
    ],
)
def test_logprobs_are_asked_for_by_their_switch(
    fields: dict[str, Any], top_logprobs: int | None
) -> None:
    assert request(**fields).generation.top_logprobs == top_logprobs


def test_top_logprobs_without_logprobs_are_refused() -> None:
    with pytest.raises(InvalidRequest, match="logprobs is not true") as caught:
        request(top_logprobs=2)
    assert caught.value.param == "top_logprobs"


@pytest.mark.parametrize(
    ("fields", "options"),
    [
        ({"reasoning_effort": "low"}, {"reasoning_effort": "low"}),
        ({"reasoning": {"effort": "high"}}, {"reasoning_effort": "high"}),
        (
            {"reasoning_effort": "none"},
            {"reasoning_effort": "none", "enable_thinking": False},
        ),
        ({"enable_thinking": True}, {"enable_thinking": True}),
        ({"thinking": {"type": "disabled"}}, {"enable_thinking": False}),
        ({"thinking": True}, {}),
        (
            {"enable_thinking": True, "chat_template_kwargs": {"enable_thinking": False, "x": 1}},
            {"enable_thinking": False, "x": 1},
        ),
        ({"thinking_budget": 100}, {"thinking_budget": 100}),
        ({"thinking_budget": -1}, {}),
        (
            {"thinking": {"type": "enabled", "budget_tokens": 0}, "enable_thinking": False},
            {"thinking_budget": 0, "enable_thinking": False},
        ),
    ],
)
def test_switches_for_thinking_become_template_options(
    fields: dict[str, Any], options: dict[str, Any]
) -> None:
    assert request(**fields).template_options == options


@pytest.mark.parametrize(
    ("fields", "tokens"),
    [
        ({}, None),
        ({"thinking_budget": -1}, None),
        ({"thinking_budget": 100, "thinking_budget_tokens": 50}, 50),
        ({"thinking": {"type": "enabled", "budget_tokens": 1024}}, 1024),
        ({"thinking": {"budget_tokens": "many"}}, None),
        ({"reasoning": {"max_tokens": 7}}, 7),
        ({"chat_template_kwargs": {"thinking_budget": 9}}, 9),
    ],
)
def test_the_budget_for_reasoning_has_many_names(
    fields: dict[str, Any], tokens: int | None
) -> None:
    assert request(**fields).reasoning_tokens == tokens


def test_reasoning_stays_in_the_content_on_request() -> None:
    assert request(reasoning_format="none").reasoning_apart is False
    assert request(reasoning_format="auto").reasoning_apart is True


def test_what_changes_nothing_is_accepted() -> None:
    without_effect = {
        "user": {"name": "someone"},
        "store": True,
        "metadata": {"a": "b"},
        "service_tier": "auto",
        "prediction": {"type": "content", "content": "x"},
        "prompt_cache_key": "k",
        "parallel_tool_calls": True,
        "safety_identifier": "s",
        "verbosity": "low",
        "cache_prompt": True,
        "keep_alive": -1,
        "never_heard_of": [1, {"a": None}],
        "tools": [],
        "tool_choice": "auto",
        "response_format": {"type": "text"},
        "modalities": ["text"],
        "mirostat": 0,
        "add_generation_prompt": True,
        "grammar": "",
    }
    assert request(**without_effect) == request()


def test_nothing_at_all_may_be_said_by_null() -> None:
    nulls = dict.fromkeys([*REFUSED, "tools", "tool_choice", "stop", "n", "temperature", "stream"])
    assert request(**nulls) == request()


ASKING: dict[str, Any] = {
    "functions": [{"name": "f"}],
    "function_call": {"name": "f"},
    "web_search_options": {},
    "modalities": ["text", "audio"],
    "lora": [{"id": 0, "scale": 1}],
    "stop_token_ids": [7],
    "bad_words": ["x"],
    "allowed_token_ids": [1],
    "documents": [{"title": "t"}],
    "response_fields": ["content"],
    "tfs_z": 0.5,
    "length_penalty": 0.5,
    "add_special_tokens": False,
    "skip_special_tokens": False,
    "prompt_logprobs": 0,
    "truncation": "auto",
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_known_field_that_would_change_the_answer_is_refused_by_name(name: str) -> None:
    with pytest.raises(UnsupportedField, match=name) as caught:
        request(**{name: ASKING.get(name, 1)})
    assert caught.value.param == name


LAST_WORDS = [HELLO[0], {"role": "assistant", "content": "Hel"}]


@pytest.mark.parametrize(
    ("fields", "continued"),
    [
        ({}, True),
        ({"continue_final_message": True}, True),
        ({"continue_final_message": "content", "add_generation_prompt": False}, True),
        ({"continue_final_message": False}, False),
    ],
)
def test_the_last_words_of_the_assistant_are_continued_unless_it_is_forbidden(
    fields: dict[str, Any], continued: bool
) -> None:
    assert request(messages=LAST_WORDS, **fields).continue_last is continued


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"continue_final_message": True}, "continue_final_message"),
        (
            {
                "messages": LAST_WORDS,
                "continue_final_message": True,
                "add_generation_prompt": True,
            },
            "add_generation_prompt",
        ),
        ({"add_generation_prompt": False}, "add_generation_prompt"),
    ],
)
def test_turns_that_can_neither_begin_nor_go_on_are_refused(
    fields: dict[str, Any], param: str
) -> None:
    with pytest.raises(InvalidRequest) as caught:
        request(**fields)
    assert caught.value.param == param


@pytest.mark.parametrize("kind", ["image_url", "input_audio", "file", "video_url"])
def test_parts_other_than_text_are_refused_with_their_place(kind: str) -> None:
    parts = [{"type": "text", "text": "look"}, {"type": kind, kind: {"url": "data:"}}]
    with pytest.raises(UnsupportedField, match=kind) as caught:
        messages(HELLO[0], {"role": "user", "content": parts})
    assert caught.value.param == "messages.1.content.1"


BROKEN: list[tuple[dict[str, Any], str]] = [
    ({"messages": []}, "messages"),
    ({"messages": "Hello"}, "messages"),
    ({"messages": None}, "messages"),
    ({"messages": [{"content": "x"}]}, "messages.0.role"),
    ({"messages": [{"role": "robot", "content": "x"}]}, "messages.0.role"),
    ({"messages": [{"role": "user", "content": 7}]}, "messages.0.content"),
    ({"messages": [{"role": "user", "content": {"text": "x"}}]}, "messages.0.content"),
    ({"messages": [{"role": "user", "content": [7]}]}, "messages.0.content.0"),
    ({"messages": [{"role": "user", "content": [{"text": 7}]}]}, "messages.0.content.0.text"),
    (
        {"messages": [{"role": "assistant", "tool_calls": [{"function": {}}]}]},
        "messages.0.tool_calls.0.function.name",
    ),
    ({"model": 7}, "model"),
    ({"model": "m" * 257}, "model"),
    ({"temperature": "0.5"}, "temperature"),
    ({"temperature": -0.1}, "temperature"),
    ({"temperature": 5.1}, "temperature"),
    ({"temperature": True}, "temperature"),
    ({"top_p": 1.1}, "top_p"),
    ({"top_k": -2}, "top_k"),
    ({"top_k": 10**30}, "top_k"),
    ({"max_tokens": -2}, "max_tokens"),
    ({"max_tokens": 1.5}, "max_tokens"),
    ({"max_tokens": 10**30}, "max_tokens"),
    ({"n": 0}, "n"),
    ({"n": 17}, "n"),
    ({"stop": ["a"] * 65}, "stop"),
    ({"stop": "a" * 1001}, "stop"),
    ({"stop": [7]}, "stop.0"),
    ({"seed": 1e3}, "seed"),
    ({"seed": 2**64}, "seed"),
    ({"repeat_penalty": 0}, "repeat_penalty"),
    ({"repeat_penalty": 1e-45}, "repeat_penalty"),
    ({"repeat_last_n": 2**30}, "repeat_last_n"),
    ({"logit_bias": {"a" * 1001: 1}}, f"logit_bias.{'a' * 1001}"),
    ({"logit_bias": {"1": 101}}, "logit_bias.1"),
    ({"logit_bias": [[1]]}, "logit_bias.0"),
    ({"logit_bias": 1}, "logit_bias"),
    ({"logprobs": 3}, "logprobs"),
    ({"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
    ({"stream": "true"}, "stream"),
    ({"stream_options": True}, "stream_options"),
    ({"chat_template_kwargs": []}, "chat_template_kwargs"),
]


@pytest.mark.parametrize(("fields", "field"), BROKEN)
def test_what_breaks_the_schema_is_named_as_it_was_sent(fields: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidSchema) as caught:
        request(**fields)
    assert field in {problem.field for problem in caught.value.problems}
    assert caught.value.param == caught.value.problems[0].field


def test_all_problems_are_named_at_once() -> None:
    with pytest.raises(InvalidSchema, match=r"1 more") as caught:
        request(temperature=9, messages=[{"role": "user", "content": 7}])
    problems = {problem.field: problem.message for problem in caught.value.problems}
    assert problems.keys() == {"temperature", "messages.0.content"}
    expected = "Input should be a valid string or a valid array"
    assert problems["messages.0.content"] == expected


@pytest.mark.parametrize(
    "wire",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b'{"messages": ' + b"[" * 100_000,
        b'{"model": "\\ud800"}',
        b"{'model': 'm'}",
        b'{"messages": [], }',
    ],
)
def test_what_is_not_json_is_refused(wire: bytes) -> None:
    with pytest.raises(InvalidRequest, match="is not JSON") as caught:
        parse_chat(wire)
    assert type(caught.value) is InvalidRequest


@pytest.mark.parametrize("wire", [b"[]", b'"text"', b"null", b"7"])
def test_json_that_is_no_object_breaks_the_schema(wire: bytes) -> None:
    with pytest.raises(InvalidSchema, match="the body"):
        parse_chat(wire)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_numbers_must_be_finite(number: str) -> None:
    wire = body().replace(b'"model"', f'"temperature": {number}, "model"'.encode())
    with pytest.raises(InvalidRequest):
        parse_chat(wire)


def test_two_names_of_one_field_must_agree() -> None:
    assert request(repeat_penalty=1.5, repetition_penalty=1.5)
    with pytest.raises(InvalidRequest, match="its other name"):
        request(repeat_penalty=1.5, repetition_penalty=1.25)


@pytest.mark.parametrize("priority", Priority)
def test_priority_and_deadline_are_read(priority: Priority) -> None:
    body = {
        "messages": [{"role": "user", "content": "Hi"}],
        "priority": priority.word,
        "deadline_ms": 250.5,
    }
    asked = parse_chat(json.dumps(body).encode()).request
    assert asked.priority is priority
    assert asked.deadline_seconds == pytest.approx(0.2505)
