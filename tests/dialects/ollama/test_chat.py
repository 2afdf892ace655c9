"""Chat bodies as Ollama's clients send them."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from localserve.chat import ChatRequest, JsonShape, Message, ToolCall
from localserve.dialects.ollama import Asked, parse_chat
from localserve.errors import InvalidRequest, InvalidSchema, UnsupportedField

HELLO = [{"role": "user", "content": "Hello"}]


def parse(**body: object) -> Asked[ChatRequest]:
    return parse_chat(json.dumps({"messages": HELLO, **body}).encode())


def messages_of(*messages: dict[str, Any]) -> tuple[Message, ...]:
    return parse(messages=list(messages)).request.messages


def test_a_stream_is_the_default() -> None:
    assert parse().stream
    assert parse(stream=None).stream
    assert not parse(stream=False).stream


def test_names_are_kept_as_they_were_written() -> None:
    asked = parse(model="tiny:latest")
    assert asked.model == asked.request.model == "tiny:latest"
    assert parse().model == ""


def test_without_messages_nothing_is_asked() -> None:
    assert parse(messages=[]).empty
    assert parse_chat(b'{"model": "m"}').empty
    assert not parse().empty


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        (None, None),
        ("", None),
        (0, 0),
        ("0", 0),
        (300, 300),
        (0.5, 0.5),
        ("5m", 300),
        ("1h30m", 5400),
        ("300ms", 0.3),
        ("1.5h", 5400),
        ("90", 90),
        (-1, math.inf),
        ("-1", math.inf),
        ("-1m", math.inf),
        ("-1s", math.inf),
        (10**30, math.inf),
        ("9999999h", math.inf),
    ],
)
def test_keep_alive(given: object, seconds: float | None) -> None:
    assert parse(keep_alive=given).request.keep_alive_seconds == seconds


@pytest.mark.parametrize("given", ["soon", "5 m", "5x", True, [], {}, "1" * 65, "m", "1h-5m"])
def test_what_is_no_keep_alive_is_refused_by_name(given: object) -> None:
    with pytest.raises(InvalidSchema, match="keep_alive: It should be seconds or a duration"):
        parse(keep_alive=given)


def test_options_are_understood() -> None:
    generation = parse(
        options={
            "num_predict": 7,
            "temperature": 0,
            "top_k": 40.0,
            "top_p": 0.9,
            "min_p": 0.1,
            "typical_p": 0.8,
            "repeat_penalty": 1.1,
            "repeat_last_n": 32,
            "presence_penalty": 0.5,
            "frequency_penalty": -0.5,
            "seed": 42,
            "stop": ["a", "b", "a", ""],
        }
    ).request.generation
    assert generation.max_tokens == 7
    assert generation.stop == ("a", "b")
    sampling = generation.sampling
    assert (sampling.temperature, sampling.top_k, sampling.top_p) == (0, 40, 0.9)
    assert (sampling.min_p, sampling.typical_p, sampling.repeat_penalty) == (0.1, 0.8, 1.1)
    assert (sampling.repeat_last_n, sampling.presence_penalty) == (32, 0.5)
    assert (sampling.frequency_penalty, sampling.seed) == (-0.5, 42)


@pytest.mark.parametrize("limit", [-1, -2, 0])
def test_no_limit(limit: int) -> None:
    assert parse(options={"num_predict": limit}).request.generation.max_tokens is None


def test_a_seed_of_minus_one_is_none_and_a_single_stop_a_list() -> None:
    generation = parse(options={"seed": -1, "stop": "x", "top_k": -1}).request.generation
    assert (generation.sampling.seed, generation.sampling.top_k) == (None, 0)
    assert generation.stop == ("x",)


def test_options_about_loading_are_hints() -> None:
    hints = {"num_ctx": 131072, "num_gpu": 99, "num_thread": 4, "use_mmap": True, "numa": "?"}
    assert parse(options=hints).request == parse().request


@pytest.mark.parametrize(
    "options",
    [
        {"temperature": "hot"},
        {"temperature": -1},
        {"top_p": 2},
        {"num_predict": 1.5},
        {"num_predict": 10**40},
        {"stop": [1]},
        {"stop": ["a"] * 65},
        {"seed": True},
        [],
    ],
)
def test_wrong_options_are_refused_by_name(options: object) -> None:
    with pytest.raises(InvalidSchema, match="options"):
        parse(options=options)


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"format": "xml"}, "format"),
        ({"format": [1]}, "format"),
        ({"options": {"mirostat": 2}}, "options.mirostat"),
        ({"messages": [{"role": "user", "content": "", "images": ["aGk="]}]}, "messages.0.images"),
        ({"tools": [{"type": "web_search"}]}, "tools.0"),
    ],
)
def test_what_is_not_supported_is_refused_by_name(more: dict[str, object], field: str) -> None:
    with pytest.raises(UnsupportedField) as refused:
        parse(**more)
    assert refused.value.param == field


@pytest.mark.parametrize("free", [None, "", {}])
def test_free_text_is_no_format(free: object) -> None:
    assert parse(format=free).request == parse().request


@pytest.mark.parametrize(
    ("think", "options"),
    [
        (None, {}),
        (True, {"enable_thinking": True}),
        (False, {"enable_thinking": False}),
        ("high", {"enable_thinking": True, "reasoning_effort": "high"}),
        ("none", {"enable_thinking": False, "reasoning_effort": "none"}),
    ],
)
def test_thinking(think: object, options: dict[str, object]) -> None:
    request = parse(think=think).request
    assert request.template_options == options
    assert request.reasoning_apart


def test_log_probabilities() -> None:
    assert parse().request.generation.top_logprobs is None
    assert parse(logprobs=True).request.generation.top_logprobs == 0
    assert parse(logprobs=True, top_logprobs=3).request.generation.top_logprobs == 3


def test_roles_and_thinking() -> None:
    system, user, assistant = messages_of(
        {"role": "developer", "content": "Be kind."},
        {"role": "user", "content": None},
        {"role": "assistant", "content": "Hi", "thinking": "A greeting."},
    )
    assert (system.role, user.content) == ("system", "")
    assert (assistant.content, assistant.reasoning) == ("Hi", "A greeting.")


def call(name: str, arguments: object = None) -> dict[str, Any]:
    return {"function": {"name": name, "arguments": arguments or {}}}


def test_calls_and_results_are_paired_by_name_and_order() -> None:
    _, asked, rain, sun, wind = messages_of(
        *HELLO,
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [call("sun", {"in": "Rome"}), call("rain"), call("wind")],
        },
        {"role": "tool", "tool_name": "rain", "content": "none"},
        {"role": "tool", "tool_name": "sun", "content": "much"},
        {"role": "tool", "content": "some"},
    )
    assert asked.content is None
    assert asked.tool_calls == (
        ToolCall("call00001", "sun", '{"in": "Rome"}'),
        ToolCall("call00002", "rain", "{}"),
        ToolCall("call00003", "wind", "{}"),
    )
    assert [one.tool_call_id for one in (rain, sun, wind)] == [
        "call00002",
        "call00001",
        "call00003",
    ]
    assert (rain.name, wind.name) == ("rain", None)


def test_ids_that_clients_send_are_kept() -> None:
    _, asked, result, other = messages_of(
        *HELLO,
        {"role": "assistant", "tool_calls": [{"id": "a", **call("f")}, {"id": "b", **call("f")}]},
        {"role": "tool", "tool_call_id": "b", "tool_name": "f", "content": "1"},
        {"role": "tool", "tool_name": "f", "content": "2"},
    )
    assert [one.id for one in asked.tool_calls] == ["a", "b"]
    assert (result.tool_call_id, other.tool_call_id) == ("b", "a")


def test_a_result_without_a_call_stays_a_result() -> None:
    _, result = messages_of(*HELLO, {"role": "tool", "tool_name": "f", "content": "1"})
    assert (result.role, result.tool_call_id) == ("tool", None)


def test_arguments_as_text_are_taken_as_they_are() -> None:
    _, asked = messages_of(*HELLO, {"role": "assistant", "tool_calls": [call("f", '{"a":1}')]})
    assert asked.tool_calls[0].arguments == '{"a":1}'


def test_tools() -> None:
    function = {"name": "f", "description": "F.", "parameters": {"type": "object"}}
    (tool,) = parse(tools=[{"type": "function", "function": function}]).request.tools
    assert (tool.name, tool.description, tool.parameters) == ("f", "F.", {"type": "object"})
    with pytest.raises(InvalidRequest, match="Two tools have the name 'f'"):
        parse(tools=[{"function": function}, {"function": function}])


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{",
        b'{"messages": 1}',
        b'{"messages": [{"role": "robot", "content": ""}]}',
        b'{"messages": [{"content": ""}]}',
        b'{"messages": [{"role": "user", "content": [1]}]}',
        b'{"model": 5}',
        b'{"stream": "yes"}',
        b'{"think": 3}',
        b'{"tools": {}}',
    ],
)
def test_what_is_no_request_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidRequest):
        parse_chat(body)


@pytest.mark.parametrize(
    ("format", "schema"),
    [("json", '{"type": "object"}'), ({"type": "array"}, '{"type": "array"}')],
)
def test_the_form_of_the_answer_is_read(format: object, schema: str) -> None:
    assert parse(format=format).request.generation.shape == JsonShape(schema, "format")
