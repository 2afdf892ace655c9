"""Bodies of `/api/generate`."""

from __future__ import annotations

import json

import pytest

from localserve.chat import ChatRequest, CompletionRequest, Message
from localserve.dialects.ollama import Asked, Generate, parse_generate
from localserve.errors import UnsupportedField


def parse(**body: object) -> Asked[Generate]:
    return parse_generate(json.dumps(body).encode())


def test_a_prompt_is_a_turn_of_a_chat() -> None:
    request = parse(model="m", prompt="Hi", system="Be kind.", think=False).request
    assert isinstance(request, ChatRequest)
    assert request.messages == (Message("system", "Be kind."), Message("user", "Hi"))
    assert request.template_options == {"enable_thinking": False}


def test_a_raw_prompt_is_taken_as_it_is() -> None:
    request = parse(prompt="Hi", raw=True, keep_alive="5m", options={"num_predict": 3}).request
    assert isinstance(request, CompletionRequest)
    assert (request.prompts, request.suffix) == (("Hi",), None)
    assert request.generation.max_tokens == 3
    assert request.keep_alive_seconds == 300


def test_a_suffix_asks_for_the_middle_even_without_a_prompt() -> None:
    request = parse(prompt="def f(", suffix="return x").request
    assert isinstance(request, CompletionRequest)
    assert (request.prompts, request.suffix) == (("def f(",), "return x")
    start = parse(prompt="", suffix="return x")
    assert not start.empty
    assert isinstance(start.request, CompletionRequest)


@pytest.mark.parametrize("body", [{}, {"prompt": ""}, {"prompt": "", "suffix": ""}])
def test_without_a_prompt_nothing_is_asked(body: dict[str, object]) -> None:
    assert parse(**body).empty


@pytest.mark.parametrize("template", ["{{ .Prompt }}", " {{- .Prompt -}}\n", "{{.Prompt}}"])
def test_a_template_that_adds_nothing_makes_the_prompt_raw(template: str) -> None:
    assert isinstance(parse(prompt="Hi", template=template).request, CompletionRequest)


def test_other_templates_are_hints() -> None:
    hinted = parse(prompt="Hi", template="[INST] {{ .Prompt }} [/INST]")
    assert hinted.request == parse(prompt="Hi").request


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"images": ["aGk="]}, "images"),
        ({"context": [1, 2]}, "context"),
        ({"format": "xml"}, "format"),
    ],
)
def test_what_is_not_supported_is_refused_by_name(body: dict[str, object], field: str) -> None:
    with pytest.raises(UnsupportedField) as refused:
        parse(prompt="Hi", **body)
    assert refused.value.param == field


def test_empty_lists_ask_for_nothing() -> None:
    assert parse(prompt="Hi", images=[], context=[]).request == parse(prompt="Hi").request
