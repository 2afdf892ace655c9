"""Bodies and answers of `/api/embed` and `/api/embeddings`."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from localserve.chat import EmbeddingAnswer
from localserve.dialects.ollama import AskedEmbed, parse_embed, parse_embedding
from localserve.errors import InvalidRequest

TWO = EmbeddingAnswer("minilm", np.array([[0.5, 0.5], [1, 0]], np.float32), 9)


@dataclass(frozen=True)
class Clock:
    elapsed_ms: float = 3.0
    load_ms: float = 0.0


def parse(**body: object) -> AskedEmbed:
    return parse_embed(json.dumps(body).encode())


def rendered(asked: AskedEmbed, answer: EmbeddingAnswer = TWO) -> Any:
    return json.loads(asked.render(answer))


def test_one_text_or_many() -> None:
    assert parse(model="m", input="a").request.inputs == ("a",)
    request = parse(model="m", input=["a", "b"], dimensions=2, keep_alive=0).request
    assert (request.inputs, request.dimensions, request.keep_alive_seconds) == (("a", "b"), 2, 0)


@pytest.mark.parametrize("body", [{}, {"input": ""}, {"input": []}, {"input": [""]}])
def test_no_text_asks_for_nothing(body: dict[str, object]) -> None:
    assert parse(**body).request.inputs == ()


def test_truncation_may_be_asked_for() -> None:
    assert parse(input="a", truncate=True) == parse(input="a", truncate=False) == parse(input="a")


def test_an_answer() -> None:
    asked = replace(parse(model="minilm:latest", input=["a", "b"]), clock=Clock())
    assert rendered(asked) == {
        "model": "minilm:latest",
        "embeddings": [[0.5, 0.5], [1, 0]],
        "total_duration": 3_000_000,
        "load_duration": 1,
        "prompt_eval_count": 9,
    }


def test_the_older_form() -> None:
    asked = parse_embedding(b'{"model": "m", "prompt": "a", "keep_alive": "5m"}')
    assert (asked.request.inputs, asked.request.keep_alive_seconds) == (("a",), 300)
    assert rendered(asked) == {"embedding": [0.5, 0.5]}
    none = EmbeddingAnswer("m", np.empty((0, 0), np.float32), 0)
    assert rendered(parse_embedding(b"{}"), none) == {"embedding": []}


@pytest.mark.parametrize(
    "body",
    [
        {"input": ["a", ""]},
        {"input": ["a"] * 2_049},
        {"input": [1]},
        {"input": {"a": 1}},
        {"input": "a", "dimensions": 0},
        {"input": "a", "model": 1},
    ],
)
def test_what_nobody_should_send_is_refused(body: dict[str, object]) -> None:
    with pytest.raises(InvalidRequest):
        parse(**body)
