"""The text that the built-in model is trained on: composed rightly, and hard where it must be."""

from __future__ import annotations

import itertools
import json
import random
import sys

import pytest

from tests.scripts.conftest import SCRIPTS

sys.path.insert(0, str(SCRIPTS))

from builtin_model.data import alike_value, draw_keys, draw_samples
from builtin_model.draw import Sample, alike_words, loosen


def _samples(task: str, count: int = 300) -> list[Sample]:
    return [sample for _, sample in itertools.islice(draw_samples(3, {task: 1}), count)]


def test_json_answers_state_what_the_prompt_does() -> None:
    for sample in _samples("json"):
        asked = f"{sample.system} {sample.user}".lower()
        for key, value in json.loads(sample.answer).items():
            assert key.lower() in asked
            assert str(value).lower() in asked


def test_keys_of_an_object_differ() -> None:
    for seed in range(300):
        keys = draw_keys(random.Random(seed))
        assert len(set(keys)) == len(keys) > 0


@pytest.mark.parametrize("value", [340, 0, True, "Quito"])
def test_an_alike_value_has_the_type_of_the_other(value: object) -> None:
    drawn = [alike_value(random.Random(seed), value) for seed in range(50)]
    assert {type(one) for one in drawn} == {type(value)}
    assert all(str(one) for one in drawn)


def test_alike_words_share_endings() -> None:
    words = alike_words(random.Random(1), 16)
    assert len(words) == 16
    assert len({word[-2:] for word in words}) <= 16 // 4


@pytest.mark.parametrize("wording", ["Find {0} now", "Say \0", "{a} + {b} =", "Hi"])
def test_a_wording_without_a_free_place_stays(wording: str) -> None:
    assert {loosen(random.Random(seed), wording) for seed in range(50)} == {wording}


def test_a_loosened_wording_keeps_its_words_in_order() -> None:
    wording = "Please tell me the capital of {}."
    loose = {loosen(random.Random(seed), wording) for seed in range(100)}
    assert len(loose) > 5
    for one in loose - {wording}:
        parts = one.split(" ")
        assert any(parts[:i] + parts[i + 1 :] == wording.split(" ") for i in range(len(parts)))


def test_only_words_without_a_meaning_become_strange() -> None:
    for task in ("copy", "json", "tool_call", "capital"):
        samples = _samples(task)
        assert all(sample.strange <= sample.meaningless for sample in samples)
        assert any(sample.strange for sample in samples) == (task != "capital")


def test_names_of_tools_and_arguments_keep_their_spelling() -> None:
    for sample in _samples("tool_call"):
        body = sample.answer.removeprefix("<tool_call>\n").removesuffix("\n</tool_call>")
        call = json.loads(body)
        fixed = " ".join([call["name"], *call["arguments"]]).replace("_", " ").split()
        assert not sample.meaningless & set(fixed)
