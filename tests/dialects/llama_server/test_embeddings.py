"""llama-server's own form of embeddings."""

from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np
import pytest

from localserve.chat import EmbeddingAnswer
from localserve.dialects.llama_server import AskedVectors, parse_embedding
from localserve.errors import InvalidRequest, InvalidSchema


def parse(**fields: Any) -> AskedVectors:
    return parse_embedding(json.dumps(fields).encode())


@pytest.mark.parametrize(
    ("given", "inputs"),
    [
        ("a", ("a",)),
        ([1, 2], ((1, 2),)),
        ([1, "a"], ((1, "a"),)),
        (["a", [1]], ("a", (1,))),
        ({"prompt_string": "a"}, ("a",)),
    ],
)
def test_an_input_has_many_forms(given: object, inputs: tuple[object, ...]) -> None:
    assert parse(input=given).request.inputs == inputs
    assert parse(content=given).request.inputs == inputs


@pytest.mark.parametrize("given", [None, [], 7, [None]])
def test_what_is_no_input_is_refused(given: object) -> None:
    with pytest.raises(InvalidSchema, match="input"):
        parse(input=given)


def test_more_inputs_than_one_request_may_have_are_refused() -> None:
    with pytest.raises(InvalidRequest, match="2049 inputs"):
        parse(input=["a"] * 2049)


def test_each_input_has_a_row() -> None:
    answer = EmbeddingAnswer("m", np.array([[1, 0], [0, 0.5]], dtype=np.float32), 2)
    assert json.loads(parse(input="a").render(answer)) == [
        {"index": 0, "embedding": [[1.0, 0.0]]},
        {"index": 1, "embedding": [[0.0, 0.5]]},
    ]
    rows = json.loads(parse(input="a", encoding_format="base64").render(answer))
    raw = base64.b64decode(rows[1]["embedding"][0])
    assert np.frombuffer(raw, "<f4").tolist() == [0.0, 0.5]
