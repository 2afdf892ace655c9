"""Which answers teach how fast a model really is."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import pytest

from localserve.backends.lessons import (
    LEAST_ANSWER_TOKENS,
    LEAST_PROMPT_TOKENS,
    Teacher,
    compare_load,
)
from localserve.catalog.headers import read_local
from localserve.chat import Completed, Timings, Usage
from localserve.config import Settings, read_settings
from localserve.gguf.facts import GgufFacts
from localserve.planner.forecast import Forecast
from localserve.planner.learned import AnswerLesson, LoadLesson, lesson_of, lessons
from localserve.planner.runtime import Runtime
from localserve.planner.usage import DeviceUsage, MemoryUsage
from tests.planner.machines import machine


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return read_settings({}, {"LOCALSERVE_HOME": str(tmp_path / "home")})


@pytest.fixture
def facts(tiny_q4_k_m: Path) -> GgufFacts:
    return read_local(tiny_q4_k_m).facts


@pytest.fixture
def predicted(facts: GgufFacts) -> Forecast:
    return Forecast(facts, Runtime(2_048, 1, gpu_layers=0), replace(machine(), key="here"))


@pytest.fixture
def completed(predicted: Forecast) -> Completed:
    """An answer of the length and in the times that teach."""
    token, first = predicted.token_seconds(410), predicted.prompt_seconds(200, 200)
    assert token
    assert first
    return answered(token, first)


def answered(
    token_seconds: float,
    prompt_seconds: float,
    tokens: int = 21,
    prompt_tokens: int = 400,
    cached_tokens: int = 200,
) -> Completed:
    timed = tokens - 1
    return Completed(
        Usage(prompt_tokens, tokens, cached_tokens),
        Timings(0.0, prompt_seconds * 1e3, timed * token_seconds * 1e3, timed),
    )


def taught(settings: Settings) -> tuple[AnswerLesson, ...]:
    return lessons(settings).answers


async def test_an_answer_alone_teaches_both_rates_at_its_own_depth(
    settings: Settings, predicted: Forecast
) -> None:
    token, first = predicted.token_seconds(410), predicted.prompt_seconds(200, 200)
    assert token
    assert first
    teacher = Teacher(settings, "CPU", lambda: predicted)
    teacher.begin(1)
    teacher.end(answered(2 * token, 3 * first))
    await teacher.close()
    (lesson,) = taught(settings)
    expected = lesson_of(predicted.facts, "here", "CPU", lesson.decode, lesson.prompt)
    assert lesson == expected
    assert (lesson.decode, lesson.prompt) == (pytest.approx(2), pytest.approx(3))


async def test_answers_that_run_together_teach_nothing(
    settings: Settings, predicted: Forecast, completed: Completed
) -> None:
    teacher = Teacher(settings, "CPU", lambda: predicted)
    teacher.begin(1)
    teacher.begin(1)
    teacher.end(completed)
    teacher.end(completed)
    teacher.begin(2)  # two choices of one prompt
    teacher.end(completed)
    await teacher.close()
    assert taught(settings) == ()
    teacher.begin(1)
    teacher.end(completed)
    await teacher.close()
    assert len(taught(settings)) == 1


async def test_what_was_cancelled_or_short_teaches_nothing(
    settings: Settings, facts: GgufFacts
) -> None:
    teacher = Teacher(settings, "CPU", lambda: predicted)
    for answer in (None, answered(0.1, 1.0, tokens=LEAST_ANSWER_TOKENS)):
        teacher.begin(1)
        teacher.end(answer)
    await teacher.close()
    assert taught(settings) == ()


async def test_a_short_prompt_tells_of_the_answer_only(
    settings: Settings, predicted: Forecast
) -> None:
    teacher = Teacher(settings, "CPU", lambda: predicted)
    teacher.begin(1)
    token = predicted.token_seconds(100)
    assert token
    teacher.end(answered(token, 1.0, prompt_tokens=LEAST_PROMPT_TOKENS - 1, cached_tokens=0))
    await teacher.close()
    assert [lesson.prompt for lesson in taught(settings)] == [None]


async def test_without_a_prediction_it_is_asked_for_once(
    settings: Settings, completed: Completed
) -> None:
    asked: list[None] = []

    def predict() -> Forecast | None:
        asked.append(None)
        return None

    teacher = Teacher(settings, "CPU", predict)
    for _ in range(3):
        teacher.begin(1)
        teacher.end(completed)
        await teacher.close()
    assert len(asked) == 1
    assert taught(settings) == ()


def test_a_load_is_compared_with_what_was_predicted(
    settings: Settings, facts: GgufFacts, caplog: pytest.LogCaptureFixture
) -> None:
    predicted, taken = (
        MemoryUsage((DeviceUsage("CPU", size, 0, 0),), 0) for size in (100 << 20, 101 << 20)
    )
    with caplog.at_level(logging.INFO):
        compare_load(settings, facts, "CPU", predicted, taken)
    assert "takes 101 MiB, 100 MiB were predicted (+1.0 %)" in caplog.text
    assert lessons(settings).loads["qwen3 CPU"] == (LoadLesson(100 << 20, 101 << 20),)


async def test_an_answer_that_was_guessed_ahead_tells_nothing_of_single_tokens(
    settings: Settings, predicted: Forecast, completed: Completed
) -> None:
    ahead = replace(completed, timings=replace(completed.timings, guessed_tokens=9, right_tokens=7))
    teacher = Teacher(settings, "CPU", lambda: predicted)
    for answer in (ahead, replace(ahead, usage=replace(ahead.usage, cached_tokens=399))):
        teacher.begin(1)
        teacher.end(answer)
        await teacher.close()
    (lesson,) = taught(settings)
    assert lesson.decode is None
    assert lesson.prompt == pytest.approx(1)
