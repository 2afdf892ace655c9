"""Bodies of embedding requests, and how vectors are written."""

from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np
import pytest

from localserve.chat import EmbeddingAnswer, EmbeddingRequest
from localserve.dialects.openai import parse_embedding
from localserve.dialects.openai.embeddings import MAX_INPUTS
from localserve.errors import InvalidRequest, InvalidSchema, UnsupportedField


def parse(**fields: object) -> EmbeddingRequest:
    return parse_embedding(json.dumps(fields).encode()).request


@pytest.mark.parametrize(
    ("given", "inputs"),
    [
        ("text", ("text",)),
        (["a", "b"], ("a", "b")),
        ([1, 2, 3], ((1, 2, 3),)),
        ([[1, 2], [3]], ((1, 2), (3,))),
        (["a", [1, 2]], ("a", (1, 2))),
    ],
)
def test_inputs_are_texts_or_tokens_one_or_many(given: object, inputs: object) -> None:
    assert parse(input=given, model="m") == EmbeddingRequest("m", inputs)  # type: ignore[arg-type]


def test_without_a_model_the_default_one_is_asked() -> None:
    assert parse(input="text", dimensions=8, user="somebody") == EmbeddingRequest("", ("text",), 8)


@pytest.mark.parametrize(
    "given",
    [
        None,
        {},
        7,
        [],
        [[]],
        [None],
        [1.5],
        [True],
        [-1],
        [1 << 31],
        [1, "a"],
        [["a"]],
        [[[1]]],
        [{"text": "a"}],
    ],
)
def test_what_is_no_input_is_named(given: object) -> None:
    with pytest.raises(InvalidSchema) as caught:
        parse(input=given)
    assert all(problem.field.startswith("input") for problem in caught.value.problems)


@pytest.mark.parametrize("dimensions", [0, -1, 1.5, "8"])
def test_dimensions_are_a_count(dimensions: object) -> None:
    with pytest.raises(InvalidSchema):
        parse(input="a", dimensions=dimensions)


def test_other_encodings_are_refused() -> None:
    with pytest.raises(InvalidSchema, match="'float' or 'base64'"):
        parse(input="a", encoding_format="ubinary")


def test_an_empty_text_is_refused_by_its_number() -> None:
    with pytest.raises(InvalidRequest, match="the input is one"):
        parse(input="")
    with pytest.raises(InvalidRequest, match=r"input\[1\] is one"):
        parse(input=["a", "", "b"])


def test_more_inputs_than_one_request_may_have_are_refused() -> None:
    assert len(parse(input=["a"] * MAX_INPUTS).inputs) == MAX_INPUTS
    with pytest.raises(InvalidRequest, match="2049 inputs; one request may have 2048"):
        parse(input=["a"] * (MAX_INPUTS + 1))


def test_of_very_many_wrong_elements_the_first_is_told() -> None:
    with pytest.raises(InvalidSchema) as caught:
        parse(input=[None] * 300_000)
    assert [problem.field for problem in caught.value.problems] == ["input.0"]


def test_what_would_cut_texts_is_refused() -> None:
    with pytest.raises(UnsupportedField, match="truncate_prompt_tokens"):
        parse(input="a", truncate_prompt_tokens=8)


def rendered(encoding: str | None) -> Any:
    asked = parse_embedding(json.dumps({"input": ["a", "b"], "encoding_format": encoding}).encode())
    vectors = np.array([[0.1, -0.25, 1.0], [0.0, 1e-9, -1.0]], dtype=np.float32)
    return json.loads(asked.render(EmbeddingAnswer("m", vectors, 7))), vectors


@pytest.mark.parametrize("encoding", [None, "float"])
def test_numbers_are_written_exactly(encoding: str | None) -> None:
    body, vectors = rendered(encoding)
    assert body["object"] == "list"
    assert body["model"] == "m"
    assert body["usage"] == {"prompt_tokens": 7, "total_tokens": 7}
    assert [entry["index"] for entry in body["data"]] == [0, 1]
    assert {entry["object"] for entry in body["data"]} == {"embedding"}
    numbers = np.array([entry["embedding"] for entry in body["data"]], dtype=np.float32)
    assert (numbers == vectors).all()


def test_base64_is_of_little_endian_floats() -> None:
    body, vectors = rendered("base64")
    for entry, vector in zip(body["data"], vectors, strict=True):
        numbers = np.frombuffer(base64.b64decode(entry["embedding"]), dtype="<f4")
        assert (numbers == vector).all()
