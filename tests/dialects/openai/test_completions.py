"""From the body of a text completion to the inner vocabulary."""

from __future__ import annotations

import json
from typing import Any

import pytest

from localserve.chat import CompletionRequest, Priority
from localserve.dialects.openai import parse_completion
from localserve.errors import InvalidRequest, InvalidSchema, UnsupportedField


def request(**fields: Any) -> CompletionRequest:
    return parse_completion(json.dumps({"prompt": "Hello"} | fields).encode()).request


@pytest.mark.parametrize(
    ("prompt", "prompts"),
    [
        ("Hello", ("Hello",)),
        ("", ("",)),
        (["a", "b"], ("a", "b")),
        ([1, 2, 3], ((1, 2, 3),)),
        ([[1, 2], [3]], ((1, 2), (3,))),
    ],
)
def test_a_prompt_comes_in_four_forms(prompt: Any, prompts: tuple[Any, ...]) -> None:
    assert request(prompt=prompt).prompts == prompts


@pytest.mark.parametrize("prompt", [[], [[]], None, 7, ["a", 1], [[1], "a"], [-1], [2**31], [True]])
def test_another_prompt_breaks_the_schema(prompt: Any) -> None:
    with pytest.raises(InvalidSchema) as caught:
        request(prompt=prompt)
    assert all(one.field.split(".")[0] == "prompt" for one in caught.value.problems)


def test_a_missing_prompt_breaks_the_schema() -> None:
    with pytest.raises(InvalidSchema) as caught:
        parse_completion(b"{}")
    assert [problem.field for problem in caught.value.problems] == ["prompt"]


def test_suffix_echo_and_the_shared_fields_are_read() -> None:
    asked = request(suffix="end", max_tokens=7, logprobs=3, n=2, stop="x")
    assert asked.suffix == "end"
    assert not asked.echo
    assert asked.generation.max_tokens == 7
    assert asked.generation.top_logprobs == 3
    assert asked.generation.choices == 2
    assert request(echo=True).echo


def test_an_empty_suffix_is_none() -> None:
    assert request(suffix="").suffix is None


def test_choices_are_counted_over_all_prompts() -> None:
    asked = parse_completion(b'{"prompt": ["a", "b", "c"], "n": 2}')
    assert asked.choices == 6


def test_too_many_answers_at_once_are_refused_with_the_numbers() -> None:
    with pytest.raises(InvalidRequest, match="20 prompts times 8 choices are 160 answers"):
        request(prompt=["a"] * 20, n=8)


def test_best_of_is_refused_only_where_it_would_choose() -> None:
    assert request(best_of=2, n=2).generation.choices == 2
    with pytest.raises(UnsupportedField, match="best_of"):
        request(best_of=3, n=2)


@pytest.mark.parametrize(
    ("fields", "param"),
    [({"logprobs": 1}, "logprobs"), ({"suffix": "x"}, "echo")],
)
def test_echo_is_refused_beside_what_it_does_not_go_with(
    fields: dict[str, Any], param: str
) -> None:
    with pytest.raises(UnsupportedField) as caught:
        request(echo=True, **fields)
    assert caught.value.param == param


@pytest.mark.parametrize("logprobs", [True, -1, 21, "1"])
def test_logprobs_are_a_number_here(logprobs: Any) -> None:
    with pytest.raises(InvalidSchema):
        request(logprobs=logprobs)


def test_urgency_file_and_user_are_read_and_their_absence_means_nothing() -> None:
    fields = {"priority": "background", "deadline_ms": 1500, "file": "a.py", "user": "ann"}
    asked = request(**fields)
    assert asked.priority is Priority.BACKGROUND
    assert (asked.deadline_seconds, asked.file, asked.user) == (1.5, "a.py", "ann")
    asked = request(file="", user={"name": "a form of others"})
    assert asked.priority is None
    assert (asked.deadline_seconds, asked.file, asked.user) == (None, None, None)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("priority", "urgent"),
        ("priority", 1),
        ("deadline_ms", 0),
        ("deadline_ms", -5),
        ("deadline_ms", 86_400_001),
        ("deadline_ms", "100"),
        ("file", 7),
        ("file", "x" * 4_097),
    ],
)
def test_urgency_out_of_bounds_is_named(field: str, value: object) -> None:
    with pytest.raises(InvalidSchema) as caught:
        request(**{field: value})
    assert [one.field for one in caught.value.problems] == [field]
