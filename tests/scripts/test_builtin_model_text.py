"""The text that the built-in model is trained on: composed rightly, and hard where it must be."""

from __future__ import annotations

import itertools
import json
import random
import re
import sys

import pytest

from tests.scripts.conftest import SCRIPTS

sys.path.insert(0, str(SCRIPTS))

from builtin_model import held_out
from builtin_model.cases import draw_cases
from builtin_model.catalogue import CATALOGUE, Entry
from builtin_model.data import DEFAULT_MIX, SCHEMA_WORDS, alike_value, draw_keys, draw_samples
from builtin_model.draw import Sample, alike_words, loosen
from builtin_model.held_back import is_held_back
from builtin_model.odd_tools import draw_odd_tools
from builtin_model.small_talk import count_up, small_talk
from builtin_model.tools import draw_names, odd_tool_case, with_tail


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


def test_names_of_tools_and_words_of_schemas_keep_their_spelling() -> None:
    for sample in _samples("tool_call"):
        body = sample.answer.removeprefix("<tool_call>\n").removesuffix("\n</tool_call>")
        fixed = {*json.loads(body)["name"].split("_"), *SCHEMA_WORDS}
        assert not sample.meaningless & fixed


def _words(text: str) -> str:
    return " ".join(re.findall(r"[a-z0-9]+", text.lower()))


def _turns(sample: Sample) -> list[str]:
    return [sample.user, *(m["content"] for m in sample.before if m["role"] == "user")]


def test_training_draws_no_wording_of_the_evaluation() -> None:
    asked = {_words(c.messages[-1]["content"]) for c in draw_cases(5, 100) if c.messages}
    asked |= {_words(wording) for wording, _ in held_out.PLAIN}
    for _, sample in itertools.islice(draw_samples(9, DEFAULT_MIX), 6000):
        assert not asked & {_words(turn) for turn in _turns(sample) if turn}


def test_training_offers_no_tool_of_the_evaluation_but_the_three_common_ones() -> None:
    held = {tool.name for tool in held_out.TOOLS} - {"get_weather", "add", "search"}
    described = {(tool.name, tool.description) for tool in held_out.TOOLS}
    mix = {"tool_call": 1.0, "tool_unused": 1.0, "tool_answer": 1.0}
    for _, sample in itertools.islice(draw_samples(9, mix), 3000):
        offered = [tool.get("function", tool) for tool in sample.tools]
        assert not held & {tool["name"] for tool in offered}
        assert not described & {(tool["name"], tool.get("description")) for tool in offered}


def test_what_the_evaluation_asks_is_held_back_however_it_is_dressed() -> None:
    for case in draw_cases(5, 40):
        if case.messages and case.messages[-1]["role"] == "user":
            asked = case.messages[-1]["content"]
            assert is_held_back(Sample("", f"Well, {asked.upper()} Thanks."))
    assert is_held_back(Sample("", "Hi", tools=[{"name": "find_recipe"}]))
    assert not is_held_back(Sample("", "Good morning", tools=[{"name": "get_weather"}]))


def test_a_request_for_a_drawn_tool_states_its_values() -> None:
    for seed in range(300):
        case = odd_tool_case(random.Random(seed))
        tool = next(t for t in (t.get("function", t) for t in case.tools) if t["name"] == case.name)
        assert set(tool["parameters"]["properties"]) == set(case.arguments)
        assert all(str(value) in case.request for value in case.arguments.values())


def test_drawn_tools_share_parameters_and_hardly_any_name_comes_twice() -> None:
    offers = [draw_odd_tools(random.Random(seed), 3) for seed in range(300)]
    shared = [offer for offer in offers if len({k for t in offer for k in t.parameters}) < 3]
    assert len(shared) > 50
    assert len({tool.name for offer in offers for tool in offer}) > 600
    assert len({key for offer in offers for tool in offer for key in tool.parameters}) > 300


def test_small_talk_hardly_ever_says_the_same_again() -> None:
    drawn = [small_talk(random.Random(seed)) for seed in range(1000)]
    assert len({sample.user for sample in drawn}) > 900
    assert len({sample.answer for sample in drawn}) == 5


def test_counting_goes_from_one_stated_number_to_the_other() -> None:
    for seed in range(300):
        sample = count_up(random.Random(seed))
        numbers = [int(number) for number in sample.answer.split(", ")]
        assert numbers == list(range(numbers[0], numbers[-1] + 1))
        digits = re.findall(r"\d+", sample.user)
        assert digits in ([], [str(numbers[0]), str(numbers[-1])])


@pytest.mark.parametrize("entry", CATALOGUE, ids=lambda entry: entry.names[0])
def test_parameters_of_the_catalogue_keep_their_kinds_under_drawn_names(entry: Entry) -> None:
    drawn = [draw_names(random.Random(seed), entry, odd=1.0)[1] for seed in range(30)]
    assert all(list(keys.values()) == list(entry.parameters.values()) for keys in drawn)
    assert len({tuple(keys) for keys in drawn}) > 20 or not entry.parameters


def test_words_behind_the_last_value_are_told_from_it() -> None:
    weather = next(entry for entry in CATALOGUE if "get_weather" in entry.names)
    asked = {with_tail(random.Random(seed), "Is it cold in {0}?", weather) for seed in range(300)}
    assert {"Is it cold in {0}?", "Is it cold in {0} right now?"} < asked
    assert {with_tail(random.Random(s), "In {0} now?", weather) for s in range(50)} == {
        "In {0} now?"
    }
    search = next(entry for entry in CATALOGUE if "search" in entry.names)
    assert {with_tail(random.Random(s), "Find {0}", search) for s in range(50)} == {"Find {0}"}
