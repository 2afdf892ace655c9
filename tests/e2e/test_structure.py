"""Answers in a demanded form from the built-in model, with the official SDK."""

from __future__ import annotations

import json
import re
from typing import Any

import openai
import pytest
from pydantic import BaseModel

from tests.e2e.conftest import Server
from tests.e2e.test_tools import QUESTION, SUM, THINKING, WEATHER

pytestmark = pytest.mark.e2e

MODEL = "localserve-tiny"
ASKED = {"role": "user", "content": "Tell me about Paris, and how many people live there."}
CITY: dict[str, Any] = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 20},
        "size": {"enum": ["small", "large"]},
        "people": {"type": "integer", "minimum": 0, "maximum": 99},
    },
    "required": ["name", "size", "people"],
    "additionalProperties": False,
}
BY_SCHEMA = {"type": "json_schema", "json_schema": {"name": "city", "schema": CITY}}
TIME = {
    "type": "function",
    "function": {
        "name": "get_time",
        "strict": True,
        "parameters": {
            "type": "object",
            "properties": {"zone": {"enum": ["UTC", "CET"]}, "hours": {"enum": [12, 24]}},
            "required": ["zone", "hours"],
            "additionalProperties": False,
        },
    },
}


def create(server: Server, **fields: Any) -> Any:
    options = {"messages": [ASKED], "temperature": 0, "max_tokens": 200, **fields}
    return server.client().chat.completions.create(model=MODEL, **options)


def content_of(server: Server, stream: bool, **fields: Any) -> str:
    if not stream:
        return str(create(server, **fields).choices[0].message.content)
    chunks = [chunk.choices[0] for chunk in create(server, stream=True, **fields) if chunk.choices]
    assert [chunk.finish_reason for chunk in chunks if chunk.finish_reason] == ["stop"]
    return "".join(chunk.delta.content or "" for chunk in chunks)


def assert_city(text: str) -> None:
    city = json.loads(text)
    assert list(city) == ["name", "size", "people"]
    assert city["size"] in ("small", "large")
    assert 0 <= city["people"] <= 99


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("temperature", [0, 1.5])
def test_an_answer_follows_a_schema(server: Server, stream: bool, temperature: float) -> None:
    for seed in range(3):
        assert_city(
            content_of(
                server, stream, response_format=BY_SCHEMA, temperature=temperature, seed=seed
            )
        )


def test_the_sdk_reads_an_answer_into_a_class(server: Server) -> None:
    class Sum(BaseModel):
        a: int
        b: int

    completion = server.client().chat.completions.parse(
        model=MODEL,
        messages=[{"role": "user", "content": "What is 3 plus 4?"}],
        response_format=Sum,
        temperature=0,
        max_tokens=60,
    )
    assert isinstance(completion.choices[0].message.parsed, Sum)


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_is_any_json_object(server: Server, stream: bool) -> None:
    told = {"role": "user", "content": "Answer as JSON: name is Ann, age is 7."}
    text = content_of(server, stream, messages=[told], response_format={"type": "json_object"})
    assert isinstance(json.loads(text), dict)


def test_every_choice_follows_the_schema_with_log_probabilities(server: Server) -> None:
    answer = create(
        server, response_format=BY_SCHEMA, n=3, temperature=1, seed=5, logprobs=True, top_logprobs=2
    )
    assert len(answer.choices) == 3
    for choice in answer.choices:
        assert_city(choice.message.content)
        told = "".join(one.token for one in choice.logprobs.content)
        assert told.strip() == choice.message.content  # it may have come behind reasoning
        assert all(one.logprob > -1e9 for one in choice.logprobs.content)


@pytest.mark.parametrize(
    ("fields", "pattern"),
    [
        ({"guided_choice": ["north", "south"]}, "north|south"),
        ({"guided_regex": "[0-9]{3}-[0-9]{2}"}, "[0-9]{3}-[0-9]{2}"),
        ({"guided_json": {"type": "boolean"}}, "true|false"),
        ({"grammar": 'root ::= "<" [a-c]{3} ">"'}, "<[a-c]{3}>"),
        ({"guided_grammar": 'start: "<" /[a-c]{3}/ ">"'}, "<[a-c]{3}>"),
        ({"structured_outputs": {"regex": "a{5}"}}, "a{5}"),
        ({"structured_outputs": {"choice": ["on", "off"]}}, "on|off"),
    ],
)
def test_other_shapes_are_kept_to_by_both_routes(
    server: Server, fields: dict[str, Any], pattern: str
) -> None:
    said = create(server, extra_body=fields).choices[0]
    assert re.fullmatch(pattern, said.message.content)
    assert said.finish_reason == "stop"
    completed = server.client().completions.create(
        model=MODEL, prompt="It is", temperature=0, max_tokens=50, extra_body=fields
    )
    assert re.fullmatch(pattern, completed.choices[0].text)


def calls_of(server: Server, stream: bool, **fields: Any) -> list[tuple[str, Any]]:
    options = {"messages": [ASKED], "tools": [WEATHER, TIME], **fields}
    if not stream:
        choice = create(server, **options).choices[0]
        assert choice.finish_reason == "tool_calls"
        calls = choice.message.tool_calls
        return [(call.function.name, json.loads(call.function.arguments)) for call in calls]
    names: list[str] = []
    arguments: list[str] = []
    for chunk in create(server, stream=True, **options):
        for call in chunk.choices[0].delta.tool_calls or () if chunk.choices else ():
            if call.function.name:
                names.append(call.function.name)
                arguments.append("")
            arguments[call.index] += call.function.arguments or ""
    return list(zip(names, map(json.loads, arguments), strict=True))


@pytest.mark.parametrize("stream", [False, True])
def test_a_call_comes_where_one_is_required(server: Server, stream: bool) -> None:
    calls = calls_of(server, stream, tool_choice="required", parallel_tool_calls=False)
    assert len(calls) == 1
    assert calls[0][0] in ("get_weather", "get_time")


@pytest.mark.parametrize("stream", [False, True])
def test_a_required_call_that_is_cut_in_its_name_is_no_text(server: Server, stream: bool) -> None:
    options = {"messages": [ASKED], "tools": [WEATHER], "tool_choice": "required", "max_tokens": 6}
    answer = create(server, stream=stream, **options)
    said, reason = "", None
    if stream:
        for choice in (chunk.choices[0] for chunk in answer if chunk.choices):
            said += choice.delta.content or ""
            reason = choice.finish_reason
    else:
        said, reason = answer.choices[0].message.content or "", answer.choices[0].finish_reason
    assert (said, reason) == ("", "length")


@pytest.mark.parametrize("stream", [False, True])
def test_the_named_function_is_called_with_arguments_that_fit(server: Server, stream: bool) -> None:
    named = {"type": "function", "function": {"name": "get_time"}}
    for seed in range(3):
        calls = calls_of(
            server, stream, tool_choice=named, parallel_tool_calls=False, temperature=1, seed=seed
        )
        ((name, arguments),) = calls
        assert name == "get_time"
        assert arguments["zone"] in ("UTC", "CET")
        assert arguments["hours"] in (12, 24)


def test_a_model_that_thinks_follows_the_schema_behind_its_reasoning(server: Server) -> None:
    asked = {"messages": [SUM], "response_format": BY_SCHEMA, "max_tokens": 400}
    message = create(server, extra_body=THINKING, **asked).choices[0].message
    assert_city(message.content)
    assert "3 + 4" in message.reasoning_content
    brief = {**THINKING, "thinking_budget": 4}
    shorter = create(server, extra_body=brief, **asked).choices[0].message
    assert_city(shorter.content)
    assert 0 < len(shorter.reasoning_content) < len(message.reasoning_content)


def test_a_strict_tool_is_called_where_the_model_calls_one(server: Server) -> None:
    strict = {**WEATHER, "function": {**WEATHER["function"], "strict": True}}
    choice = create(server, messages=[QUESTION], tools=[strict]).choices[0]
    assert choice.finish_reason == "tool_calls"
    assert json.loads(choice.message.tool_calls[0].function.arguments) == {"city": "Paris"}


def test_begun_words_are_continued_within_the_schema(server: Server) -> None:
    begun = {"role": "assistant", "content": '{"name": "Rome", "size": "'}
    text = content_of(server, False, messages=[ASKED, begun], response_format=BY_SCHEMA)
    assert_city(begun["content"] + text)
    with pytest.raises(openai.BadRequestError, match="do not fit"):
        create(
            server,
            messages=[ASKED, {"role": "assistant", "content": "Sure! "}],
            response_format=BY_SCHEMA,
        )


@pytest.mark.parametrize(
    ("schema", "named"),
    [
        ({"type": "array", "uniqueItems": True}, "uniqueItems"),
        ({"not": {}}, "not"),
    ],
)
def test_a_keyword_that_cannot_be_enforced_is_named(
    server: Server, schema: dict[str, Any], named: str
) -> None:
    asked = {"type": "json_schema", "json_schema": {"name": "s", "schema": schema}}
    with pytest.raises(openai.BadRequestError, match=named) as caught:
        create(server, response_format=asked)
    assert caught.value.code == "grammar_invalid"
    assert caught.value.param == "response_format"


def test_a_hostile_schema_harms_nobody(server: Server) -> None:
    deep: dict[str, Any] = {"type": "string"}
    for _ in range(400):
        deep = {"type": "object", "properties": {"a": deep}}
    with pytest.raises(openai.BadRequestError):
        create(server, extra_body={"guided_json": deep})
    long = {"type": "string", "minLength": 5, "maxLength": 131_072}
    answer = create(server, extra_body={"guided_json": long}, max_tokens=20)
    assert answer.choices[0].finish_reason in ("stop", "length")
    assert_city(content_of(server, False, response_format=BY_SCHEMA))


def test_other_dialects_keep_to_the_same_forms(server: Server) -> None:
    asked = {"model": MODEL, "max_tokens": 200, "messages": [ASKED], "stream": False}
    strict = {"type": "json_schema", "schema": CITY}
    anthropic = server.post("/v1/messages", asked | {"output_config": {"format": strict}}).json()
    assert_city(anthropic["content"][-1]["text"])
    ollama = server.post("/api/chat", asked | {"format": CITY}).json()
    assert_city(ollama["message"]["content"])
    body = {"model": MODEL, "input": ASKED["content"], "text": {"format": {**strict, "name": "c"}}}
    *_, said = server.post("/v1/responses", body).json()["output"]
    assert_city(said["content"][0]["text"])
    editor = server.post("/completion", {"prompt": "x", "n_predict": 200, "json_schema": CITY})
    assert_city(editor.json()["content"])


def test_other_dialects_demand_calls(server: Server) -> None:
    schema = TIME["function"]["parameters"]
    tool = {"name": "get_time", "input_schema": schema}
    body = {"model": MODEL, "max_tokens": 200, "messages": [ASKED], "tools": [tool]}
    answer = server.post("/v1/messages", body | {"tool_choice": {"type": "any"}}).json()
    assert answer["stop_reason"] == "tool_use"
    assert answer["content"][-1]["name"] == "get_time"
    flat = {"type": "function", "name": "get_time", "parameters": schema, "strict": True}
    body = {"model": MODEL, "input": ASKED["content"], "tools": [flat], "tool_choice": "required"}
    items = server.post("/v1/responses", body).json()["output"]
    assert items[-1]["name"] == "get_time"
    assert json.loads(items[-1]["arguments"])["zone"] in ("UTC", "CET")
