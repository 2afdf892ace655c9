"""From the bodies of `/completion` and `/infill` to requests."""

from __future__ import annotations

import json
from typing import Any

import pytest

from localserve.chat import (
    CompletionRequest,
    ExtraText,
    GrammarShape,
    InfillRequest,
    JsonShape,
    Priority,
    Report,
)
from localserve.dialects.llama_server import parse_completion, parse_infill
from localserve.dialects.llama_server.asked import Telling
from localserve.dialects.llama_server.refusals import REFUSED
from localserve.errors import InvalidRequest, InvalidSchema, UnsupportedField

AROUND = {"input_prefix": "a", "input_suffix": "c"}


def completion(prompt: object = "a", **fields: Any) -> CompletionRequest:
    return parse_completion(json.dumps({"prompt": prompt, **fields}).encode()).request


def infill(**fields: Any) -> InfillRequest:
    return parse_infill(json.dumps(AROUND | fields).encode()).request


@pytest.mark.parametrize(
    ("given", "prompts"),
    [
        ("text", ("text",)),
        ("", ("",)),
        ([1, 2], ((1, 2),)),
        ([1, "a", 2], ((1, "a", 2),)),
        (["a", 1], (("a", 1),)),
        ({"prompt_string": "text"}, ("text",)),
        ({"prompt_string": "text", "multimodal_data": []}, ("text",)),
        (["a", "b"], ("a", "b")),
        (["a"], ("a",)),
        ([[1, "a"], [2], "b", {"prompt_string": "c"}], ((1, "a"), (2,), "b", "c")),
    ],
)
def test_a_prompt_has_many_forms(given: object, prompts: tuple[object, ...]) -> None:
    assert completion(given).prompts == prompts


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ([], "prompt"),
        (7, "prompt"),
        (None, "prompt"),
        ({}, "prompt"),
        ({"prompt_string": 7}, "prompt"),
        ([[]], "prompt.0"),
        (["a", None], "prompt.1"),
        ([1, 2.5], "prompt.0"),
        ([[1, None]], "prompt.0.1"),
        ([[-1]], "prompt.0.0"),
        ([[1 << 31]], "prompt.0.0"),
        ([[True]], "prompt.0.0"),
    ],
)
def test_what_is_no_prompt_is_refused_with_its_place(given: object, field: str) -> None:
    with pytest.raises(InvalidSchema) as caught:
        completion(given)
    assert caught.value.param == field


def test_images_are_refused_by_name() -> None:
    with pytest.raises(UnsupportedField, match="multimodal_data"):
        completion({"prompt_string": "a", "multimodal_data": ["aGk="]})


def test_a_completion_needs_a_prompt() -> None:
    with pytest.raises(InvalidSchema, match="prompt"):
        parse_completion(b"{}")


def test_more_answers_than_can_be_asked_for_at_once_are_refused() -> None:
    with pytest.raises(InvalidRequest, match="160 answers"):
        completion(["a"] * 40, n_cmpl=4)


def test_the_fields_reach_the_generation() -> None:
    asked = completion(
        n_predict=64,
        stop=["\n\n", ""],
        n_cmpl=2,
        ignore_eos=True,
        cache_prompt=False,
        n_indent=4,
        t_max_predict_ms=1500,
        n_probs=5,
        top_k=7,
        seed=-1,
        logit_bias=[[3, False], ["x", 2]],
        samplers=["top_k", "temperature"],
        temperature=0,
    ).generation
    assert (asked.max_tokens, asked.stop, asked.choices) == (64, ("\n\n",), 2)
    assert (asked.ignore_eos, asked.reuse, asked.min_indent) == (True, False, 4)
    assert (asked.line_seconds, asked.top_logprobs) == (1.5, 5)
    assert (asked.sampling.top_k, asked.sampling.seed, asked.sampling.top_p) == (7, None, 1.0)
    assert asked.sampling.logit_bias == ((3, -100.0),)
    assert asked.text_bias == (("x", 2.0),)


def test_what_is_not_asked_is_left_to_the_model() -> None:
    asked = completion().generation
    assert (asked.max_tokens, asked.top_logprobs, asked.line_seconds) == (None, None, None)
    assert (asked.min_indent, asked.reuse, asked.choices) == (0, True, 1)
    assert asked.sampling.temperature is None
    assert asked.report == Report(prompts=True)


@pytest.mark.parametrize("milliseconds", [0, -1])
def test_no_limit_of_time(milliseconds: int) -> None:
    assert completion(t_max_predict_ms=milliseconds).generation.line_seconds is None


def test_a_huge_indentation_is_bounded() -> None:
    assert completion(n_indent=2**31 - 1).generation.min_indent == 1_000


def test_what_is_told_of_the_answer() -> None:
    body = {"prompt": "a", "stream": True, "return_progress": True, "timings_per_token": True}
    asked = parse_completion(json.dumps(body).encode())
    assert asked.telling == Telling(stream=True, tokens=True, progress=True, timings=True)
    assert asked.request.generation.report == Report(
        tokens=True, progress=True, timings=True, prompts=True
    )


def test_progress_and_times_are_for_streams_only() -> None:
    report = completion(return_progress=True, timings_per_token=True).generation.report
    assert report == Report(prompts=True)


ASKING: dict[str, Any] = {
    "lora": [{"id": 0, "scale": 0.5}],
    "image_data": [{"data": "aGk=", "id": 1}],
    "multimodal_data": ["aGk="],
}
HARMLESS: dict[str, Any] = {
    "mirostat": 0,
    "dry_multiplier": 0.0,
    "xtc_probability": 0.0,
    "dynatemp_range": 0,
    "top_n_sigma": -1.0,
    "adaptive_target": -1.0,
    "min_keep": 0,
    "lora": [],
    "grammar": "",
    "post_sampling_probs": False,
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_known_field_that_would_change_the_answer_is_refused_by_name(name: str) -> None:
    with pytest.raises(UnsupportedField, match=name) as caught:
        completion(**{name: ASKING.get(name, 1)})
    assert caught.value.param == name


def test_fields_that_ask_for_nothing_are_taken() -> None:
    assert completion(**HARMLESS) == completion()
    assert completion(**dict.fromkeys(REFUSED)) == completion()


def test_what_changes_no_answer_is_taken() -> None:
    others = {"id_slot": 1, "n_keep": -1, "n_discard": 0, "n_cache_reuse": 256}
    assert completion(**others, t_max_prompt_ms=500) == completion()


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"n_predict": -2}, "n_predict"),
        ({"n_predict": "7"}, "n_predict"),
        ({"n_cmpl": 0}, "n_cmpl"),
        ({"stop": ["a"] * 65}, "stop"),
        ({"stream": "yes"}, "stream"),
        ({"n_probs": 257}, "n_probs"),
        ({"top_p": 1.5}, "top_p"),
        ({"temperature": -1}, "temperature"),
        ({"response_fields": "content"}, "response_fields"),
        ({"n_indent": -1}, "n_indent"),
        ({"logit_bias": "x"}, "logit_bias"),
    ],
)
def test_what_is_out_of_bounds_is_refused_with_its_place(
    fields: dict[str, Any], param: str
) -> None:
    with pytest.raises(InvalidSchema) as caught:
        completion(**fields)
    assert caught.value.param == param


def test_a_middle_lies_between_prefix_and_suffix() -> None:
    asked = infill(
        prompt="b",
        input_extra=[{"filename": "x.py", "text": "1", "time": [1, 2]}, {"text": "2"}],
    )
    assert (asked.prefix, asked.suffix, asked.begun) == ("a", "c", "b")
    assert asked.extra == (ExtraText("x.py", "1"), ExtraText("tmp", "2"))


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"input_prefix": None}, "input_prefix"),
        ({"input_suffix": 7}, "input_suffix"),
        ({"prompt": [1]}, "prompt"),
        ({"input_extra": {}}, "input_extra"),
        ({"input_extra": [{}]}, "input_extra.0.text"),
        ({"input_extra": [{"filename": "ok"}]}, "input_extra.0.text"),
        ({"input_extra": [{"filename": 123, "text": "abc"}]}, "input_extra.0.filename"),
        ({"input_extra": [{"text": 456}]}, "input_extra.0.text"),
    ],
)
def test_a_malformed_middle_is_refused_with_its_place(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidSchema) as caught:
        infill(**fields)
    assert caught.value.param == param


def test_llama_vim_is_understood() -> None:
    """A completion, and the warm-up after a chunk of text was added."""
    asked = infill(
        input_extra=[{"text": "x\n", "time": [0, 1], "filename": "a.c"}],
        prompt="    int n",
        n_predict=128,
        n_indent=4,
        top_k=40,
        top_p=0.99,
        stream=False,
        samplers=["top_k", "top_p", "infill"],
        cache_prompt=True,
        t_max_prompt_ms=500,
        t_max_predict_ms=1000,
        response_fields=["content", "timings/prompt_n"],
    )
    assert asked.generation.sampling.sure_only is True
    warm_up = infill(
        n_predict=0,
        temperature=0.0,
        stream=False,
        samplers=[],
        cache_prompt=True,
        t_max_prompt_ms=1,
        t_max_predict_ms=1,
        response_fields=[""],
    )
    assert warm_up.generation.max_tokens == 0


def test_the_form_of_the_answer_is_read() -> None:
    assert completion(json_schema={"type": "array"}).generation.shape == JsonShape(
        '{"type": "array"}', "json_schema"
    )
    assert completion(grammar='root ::= "a"').generation.shape == GrammarShape('root ::= "a"')
    assert infill(grammar='root ::= "a"').generation.shape == GrammarShape('root ::= "a"')
    with pytest.raises(InvalidRequest, match="both say"):
        completion(grammar='root ::= "a"', json_schema={})


def test_urgency_and_file_are_read_of_both() -> None:
    fields = {"priority": "chat", "deadline_ms": 250, "file": "a.py", "user": "ann"}
    for request in (completion(**fields), infill(**fields)):
        assert request.priority is Priority.CHAT
        assert (request.deadline_seconds, request.file, request.user) == (0.25, "a.py", "ann")
