"""Requests as other servers take them: what this server's own dialect reads back is the same."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from localserve.chat import (
    CallPolicy,
    ChatRequest,
    ChoiceShape,
    CompletionRequest,
    EmbeddingRequest,
    Generation,
    GrammarShape,
    JsonShape,
    Message,
    RegexShape,
    Sampling,
    Tool,
    ToolCall,
)
from localserve.dialects.openai import parse_chat, parse_completion, parse_embedding
from localserve.dialects.openai.outgoing import (
    chat_fields,
    completion_fields,
    embedding_fields,
)
from localserve.errors import NotSupported

SAMPLING = Sampling(
    temperature=0.5,
    top_p=0.9,
    top_k=20,
    min_p=0.1,
    frequency_penalty=0.25,
    presence_penalty=0.5,
    seed=7,
    logit_bias=((5, 1.5),),
)
CALL = ToolCall("abc", "look", '{"a":1}')
CHAT = ChatRequest(
    "m",
    (
        Message("system", "Be kind."),
        Message("user", "Look it up.", name="ann"),
        Message(
            "assistant", None, tool_calls=(ToolCall("abc", "look", '{"a":1}'),), reasoning="Hm"
        ),
        Message("tool", "42", tool_call_id="abc"),
    ),
    tools=(
        Tool("look", "Looks.", {"type": "object", "properties": {"a": {"type": "integer"}}}),
        Tool("leap", None, {"type": "object"}),
    ),
    generation=Generation(SAMPLING, max_tokens=9, stop=("x", "y"), choices=2, top_logprobs=3),
)


def back(request: ChatRequest) -> ChatRequest:
    fields = chat_fields(request, "m", request.generation.sampling)
    asked = parse_chat(json.dumps(fields).encode())
    assert asked.stream
    assert asked.include_usage
    return asked.request


def test_a_chat_comes_back_as_it_went() -> None:
    assert back(CHAT) == CHAT


@pytest.mark.parametrize(
    "calls",
    [
        CallPolicy(required=True),
        CallPolicy(parallel=False),
        CallPolicy(required=True, only=("look",)),
        CallPolicy(only=("look",)),
        CallPolicy(required=True, only=("look", "leap")),
    ],
)
def test_what_must_be_called_comes_back_as_it_went(calls: CallPolicy) -> None:
    assert back(replace(CHAT, calls=calls)).calls == calls


@pytest.mark.parametrize(
    "shape",
    [
        JsonShape('{"type":"object"}'),
        RegexShape("[a-z]+"),
        ChoiceShape(("yes", "no")),
        GrammarShape('start: "a"'),
    ],
)
def test_the_shape_of_an_answer_comes_back_as_it_went(
    shape: JsonShape | RegexShape | ChoiceShape | GrammarShape,
) -> None:
    shaped = replace(CHAT, generation=replace(CHAT.generation, shape=shape))
    found = back(shaped).generation.shape
    assert type(found) is type(shape)
    if isinstance(shape, JsonShape):
        assert isinstance(found, JsonShape)
        assert json.loads(found.schema) == json.loads(shape.schema)
    else:
        assert replace(found, field=shape.field) == shape  # type: ignore[type-var]


def test_texts_come_back_as_they_went() -> None:
    generation = Generation(Sampling(temperature=0.0), max_tokens=3)
    for request in (
        CompletionRequest("m", ("Once",), suffix="end", generation=generation),
        CompletionRequest("m", ("Once", "Twice"), echo=True, generation=generation),
        CompletionRequest("m", ((1, 2, 3),), generation=generation),
    ):
        fields = completion_fields(request, "m", generation.sampling)
        assert parse_completion(json.dumps(fields).encode()).request == request
    vectors = EmbeddingRequest("m", ("a", (1, 2)), 8)
    fields = embedding_fields(replace(vectors, inputs=("a", "b")), "m")
    assert parse_embedding(json.dumps(fields).encode()).request.inputs == ("a", "b")


@pytest.mark.parametrize(
    "request_",
    [
        CompletionRequest("m", ((1, "a"),)),
        CompletionRequest("m", ("a",), generation=Generation(top_logprobs=2)),
        CompletionRequest("m", ("a",), generation=Generation(text_bias=(("a", 1.0),))),
        CompletionRequest("m", ("a",), generation=Generation(line_seconds=1.0)),
        CompletionRequest("m", ("a",), generation=Generation(min_indent=2)),
    ],
)
def test_what_the_format_has_no_word_for_is_refused(request_: CompletionRequest) -> None:
    with pytest.raises(NotSupported, match="served by another server"):
        completion_fields(request_, "m", Sampling())
