"""Anthropic's SDK against a real server on the built-in model, and requests nobody should send."""

from __future__ import annotations

import json
from typing import Any

import anthropic
import httpx2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.e2e.conftest import WAIT_SECONDS, Server
from tests.e2e.test_hostile import often

pytestmark = pytest.mark.e2e

MODEL = "localserve-tiny"
GREEDY = {"temperature": 0}
FRANCE: Any = {"role": "user", "content": "What is the capital of France?"}
WEATHER: Any = {
    "name": "get_weather",
    "description": "Get the current weather of a city",
    "input_schema": {
        "type": "object",
        "properties": {"city": {"type": "string", "description": "Name of the city"}},
        "required": ["city"],
    },
}


def client(server: Server) -> anthropic.Anthropic:
    return anthropic.Anthropic(
        base_url=server.url, api_key="none", max_retries=0, timeout=WAIT_SECONDS
    )


def ask(server: Server, *messages: Any, **fields: Any) -> Any:
    fields = {"max_tokens": 100, "extra_body": GREEDY, **fields}
    with client(server) as sdk:
        return sdk.messages.create(model=MODEL, messages=list(messages), **fields)


def test_an_answer_is_the_same_streamed_and_counted_before(server: Server) -> None:
    whole = ask(server, FRANCE)
    (block,) = whole.content
    assert "Paris" in block.text
    assert whole.stop_reason == "end_turn"
    with client(server) as sdk:
        with sdk.messages.stream(
            model=MODEL, max_tokens=100, messages=[FRANCE], extra_body=GREEDY
        ) as stream:
            text = "".join(stream.text_stream)
            final = stream.get_final_message()
        count = sdk.messages.count_tokens(model=MODEL, messages=[FRANCE])
    assert text == block.text
    assert final.stop_reason == "end_turn"
    assert final.usage.output_tokens == whole.usage.output_tokens
    for usage in (whole.usage, final.usage):
        assert usage.input_tokens + usage.cache_read_input_tokens == count.input_tokens


def test_it_calls_a_tool_and_answers_from_the_result(server: Server) -> None:
    question = {"role": "user", "content": "What is the weather in Paris?"}
    message = ask(server, question, tools=[WEATHER])
    assert message.stop_reason == "tool_use"
    (call,) = message.content
    assert (call.type, call.name, call.input) == ("tool_use", "get_weather", {"city": "Paris"})
    with (
        client(server) as sdk,
        sdk.messages.stream(
            model=MODEL,
            max_tokens=100,
            extra_body=GREEDY,
            messages=[question],  # type: ignore[list-item]
            tools=[WEATHER],
        ) as stream,
    ):
        (streamed,) = stream.get_final_message().content
    assert streamed.type == "tool_use"
    assert (streamed.name, streamed.input) == (call.name, call.input)
    said = '{"temperature": 21, "sky": "sunny"}'
    result = {"type": "tool_result", "tool_use_id": call.id, "content": said}
    answer = ask(
        server,
        question,
        {"role": "assistant", "content": message.content},
        {"role": "user", "content": [result]},
        tools=[WEATHER],
    )
    assert answer.stop_reason == "end_turn"
    assert "21" in answer.content[0].text


def test_it_thinks_when_it_is_asked_to_and_no_longer_than_it_may(server: Server) -> None:
    question = {"role": "user", "content": "What is 3 plus 4?"}
    thought, text = ask(
        server, question, thinking={"type": "enabled", "budget_tokens": 1024}
    ).content
    assert "3 + 4" in thought.thinking
    assert thought.signature
    assert "7" in text.text
    brief, text = ask(server, question, thinking={"type": "enabled", "budget_tokens": 4}).content
    assert 0 < len(brief.thinking) < len(thought.thinking)
    assert "7" in text.text
    (plain,) = ask(server, question).content
    assert plain.type == "text"
    back = [{"type": "thinking", "thinking": thought.thinking, "signature": "x"}]
    again = ask(
        server,
        question,
        {"role": "assistant", "content": [*back, {"type": "text", "text": "7"}]},
        FRANCE,
    )
    assert again.content[0].type == "text"


def test_a_prefix_is_kept_although_the_billing_header_changes(server: Server) -> None:
    def system(number: int) -> list[Any]:
        header = f"x-anthropic-billing-header: cc_version=2.1; cch={number:05x};"
        return [
            {"type": "text", "text": header},
            {"type": "text", "text": "You are a helpful assistant that knows all capitals. " * 8},
        ]

    first = ask(server, FRANCE, system=system(1)).usage
    second = ask(server, FRANCE, system=system(2)).usage
    whole = first.input_tokens + first.cache_read_input_tokens
    assert second.input_tokens + second.cache_read_input_tokens == whole
    assert second.cache_read_input_tokens > whole // 2


def test_an_answer_is_continued_and_stopped(server: Server) -> None:
    begun = ask(server, FRANCE, {"role": "assistant", "content": "The capital of"})
    assert "Paris" in begun.content[0].text
    assert not begun.content[0].text.startswith("The capital of")
    stopped = ask(server, FRANCE, stop_sequences=["Paris"])
    assert (stopped.stop_reason, stopped.stop_sequence) == ("stop_sequence", "Paris")
    assert ask(server, FRANCE, max_tokens=1).stop_reason == "max_tokens"


def test_a_prompt_that_is_too_long_is_told_with_its_numbers(server: Server) -> None:
    long: Any = {"role": "user", "content": "word " * 20_000}
    with pytest.raises(anthropic.BadRequestError, match=r"prompt is too long: \d+ tokens > \d+"):
        ask(server, long)
    with client(server) as sdk:
        assert sdk.messages.count_tokens(model=MODEL, messages=[long]).input_tokens > 20_000


IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "text/html", "data": "!"}}


@pytest.mark.parametrize(
    "messages",
    [
        [],
        [{"role": "tool", "content": "x"}],
        [{"role": "user"}],
        [{"role": "user", "content": [IMAGE]}],
        [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a"}]}],
        [FRANCE, {"role": "assistant", "content": [{"type": "tool_use", "id": "a"}]}],
        [{"role": "user", "content": "\ud800"}],
    ],
    ids=lambda messages: f"{len(messages)} messages",
)
@pytest.mark.parametrize("path", ["/v1/messages", "/v1/messages/count_tokens"])
def test_bad_messages_are_the_clients_fault(server: Server, messages: Any, path: str) -> None:
    check(server, path, {"max_tokens": 1, "messages": messages})


def test_ten_thousand_messages_are_too_long_and_no_more_than_that(server: Server) -> None:
    check(server, "/v1/messages", {"max_tokens": 1, "messages": [FRANCE] * 10_000})


TURNS = st.lists(
    st.fixed_dictionaries(
        {
            "role": often(st.sampled_from(["user", "assistant", "system"])),
            "content": often(st.text(max_size=40)),
        }
    ),
    min_size=1,
    max_size=4,
)
OPTIONS = {
    "system": often(st.text(max_size=20)),
    "temperature": often(st.floats(-1, 6)),
    "top_p": often(st.floats(-0.5, 1.5)),
    "top_k": often(st.integers(-5, 300_000)),
    "stop_sequences": often(st.lists(st.text(max_size=5), max_size=4)),
    "stream": often(st.booleans()),
    "tools": often(st.just([WEATHER])),
    "tool_choice": often(st.fixed_dictionaries({"type": st.sampled_from(["auto", "any", "none"])})),
    "thinking": often(
        st.fixed_dictionaries(
            {"type": st.sampled_from(["enabled", "disabled", "adaptive"])},
            optional={"budget_tokens": st.integers(0, 9)},
        )
    ),
    "model": often(st.just(MODEL)),
}


@settings(
    max_examples=100,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    body=st.fixed_dictionaries(
        {"messages": often(TURNS), "max_tokens": st.integers(0, 4)}, optional=OPTIONS
    ),
    path=st.sampled_from(["/v1/messages", "/v1/messages/count_tokens"]),
)
def test_no_body_is_answered_by_a_server_error(server: Server, body: object, path: str) -> None:
    check(server, path, body)


def check(server: Server, path: str, body: object) -> None:
    worker = server.worker.pid
    content = json.dumps(body).encode()
    response = httpx2.post(server.url + path, content=content, timeout=WAIT_SECONDS)
    if response.status_code != 529:
        assert response.status_code < 500, response.text
    if response.status_code >= 400:
        assert response.json()["type"] == "error"
        assert response.json()["error"]["message"]
    elif response.headers["content-type"].startswith("text/event-stream"):
        assert response.text.endswith('data: {"type":"message_stop"}\n\n'), response.text
    assert server.worker.pid == worker, "the worker died"


def test_anything_at_all_is_no_server_error(server: Server) -> None:
    for body in (None, [], "x", 1, {"messages": {"a": "b"}}, {"messages": [None]}):
        check(server, "/v1/messages", body)
