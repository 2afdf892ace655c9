"""OpenAI's responses on a real server with the built-in model, with the official SDK."""

from __future__ import annotations

import json
from typing import Any

import openai
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.e2e.conftest import Server
from tests.e2e.test_hostile import often

pytestmark = pytest.mark.e2e

MODEL = "localserve-tiny"
FRANCE = "What is the capital of France?"
WEATHER: Any = {
    "type": "function",
    "name": "get_weather",
    "description": "Get the current weather of a city",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string", "description": "Name of the city"}},
        "required": ["city"],
    },
}


def ask(server: Server, given: Any, **fields: Any) -> Any:
    fields = {"temperature": 0, "max_output_tokens": 100, **fields}
    with server.client() as sdk:
        answer = sdk.responses.create(model=MODEL, input=given, **fields)
        return list(answer) if fields.get("stream") else answer


def test_an_answer_is_the_same_streamed(server: Server) -> None:
    whole = ask(server, FRANCE)
    assert "Paris" in whole.output_text
    assert whole.status == "completed"
    with (
        server.client() as sdk,
        sdk.responses.stream(
            model=MODEL, input=FRANCE, temperature=0, max_output_tokens=100
        ) as stream,
    ):
        kinds = [event.type for event in stream]
        final = stream.get_final_response()
    assert kinds[0] == "response.created"
    assert kinds[-1] == "response.completed"
    assert final.output_text == whole.output_text
    assert final.usage is not None
    assert final.usage.input_tokens == whole.usage.input_tokens


def test_it_calls_a_tool_and_answers_from_the_result(server: Server) -> None:
    response = ask(server, "What is the weather in Paris?", tools=[WEATHER, {"type": "web_search"}])
    (call,) = response.output
    assert (call.type, call.name) == ("function_call", "get_weather")
    assert json.loads(call.arguments) == {"city": "Paris"}
    said = json.dumps({"temperature": 21, "sky": "sunny"})
    output = {"type": "function_call_output", "call_id": call.call_id, "output": said}
    answer = ask(server, [output], previous_response_id=response.id, tools=[WEATHER])
    assert "21" in answer.output_text


def test_a_streamed_call_is_put_together(server: Server) -> None:
    with (
        server.client() as sdk,
        sdk.responses.stream(
            model=MODEL, input="What is the weather in Paris?", tools=[WEATHER], temperature=0
        ) as stream,
    ):
        (call,) = stream.get_final_response().output
    assert call.type == "function_call"
    assert json.loads(call.arguments) == {"city": "Paris"}


def test_it_reasons_in_an_item_of_its_own(server: Server) -> None:
    thinking = {"chat_template_kwargs": {"enable_thinking": True}}
    response = ask(server, "What is 3 plus 4?", extra_body=thinking)
    thought, message = response.output
    assert "3 + 4" in thought.summary[0].text
    assert "7" in message.content[0].text


def test_a_prompt_that_is_too_long_fails_in_its_stream(server: Server) -> None:
    long = "word " * 20_000
    with pytest.raises(openai.BadRequestError) as refused:
        ask(server, long)
    assert refused.value.code == "context_length_exceeded"
    *_, last = ask(server, long, stream=True)
    assert last.type == "response.failed"
    assert last.response.error.code == "context_length_exceeded"


USER = {"role": "user", "content": "Hello"}


@pytest.mark.parametrize(
    "given",
    [
        [],
        [{"role": "tool", "content": "x"}],
        [{"role": "user"}],
        [{"role": "user", "content": [{"type": "input_image", "image_url": "data:text/html,x"}]}],
        [{"type": "function_call_output", "call_id": "a", "output": "x"}],
        [USER, {"type": "function_call", "call_id": "a", "name": "x", "arguments": "{"}],
        [{"role": "assistant", "content": "x"}],
        [USER, {"role": "assistant", "content": "x"}] * 5_000,
    ],
    ids=lambda given: f"{len(given)} items",
)
def test_bad_input_is_the_clients_fault(server: Server, given: Any) -> None:
    check(server, {"input": given, "max_output_tokens": 1})


ITEMS = st.lists(
    st.fixed_dictionaries(
        {
            "role": often(st.sampled_from(["system", "developer", "user", "assistant"])),
            "content": often(st.text(max_size=40)),
        }
    ),
    max_size=4,
)
OPTIONS = {
    "instructions": often(st.text(max_size=20)),
    "temperature": often(st.floats(-1, 6)),
    "top_p": often(st.floats(-0.5, 1.5)),
    "stream": often(st.booleans()),
    "store": often(st.booleans()),
    "tools": often(st.just([WEATHER])),
    "tool_choice": often(st.sampled_from(["auto", "none", "required"])),
    "reasoning": often(st.fixed_dictionaries({"effort": st.sampled_from(["none", "low"])})),
    "model": often(st.just(MODEL)),
    "previous_response_id": st.text(max_size=5) | st.none(),
}


@settings(
    max_examples=100,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    body=st.fixed_dictionaries(
        {"input": often(st.text(max_size=40) | ITEMS), "max_output_tokens": st.integers(0, 4)},
        optional=OPTIONS,
    )
)
def test_no_body_is_answered_by_a_server_error(server: Server, body: object) -> None:
    check(server, body)


def check(server: Server, body: object) -> None:
    worker = server.worker.pid
    response = server.post("/v1/responses", body)
    if response.status_code == 503:
        assert "retry-after" in response.headers
    else:
        assert response.status_code < 500, response.text
    if response.status_code >= 400:
        assert response.json()["error"]["message"]
    elif response.headers["content-type"].startswith("text/event-stream"):
        last = response.text.rstrip("\n").rpartition("\n\n")[2]
        assert last.startswith(("event: response.completed\n", "event: response.failed\n")), last
    assert server.worker.pid == worker, "the worker died"
