"""Which answers teach how fast a model really is."""

from __future__ import annotations

import logging
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
from localserve.planner.learned import AnswerLesson, LoadLesson, lessons
from localserve.planner.speed import Speed
from localserve.planner.usage import DeviceUsage, MemoryUsage

PREDICTED = Speed(decode=10.0, prompt=100.0, first_token_seconds=1.0)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return read_settings({}, {"LOCALSERVE_HOME": str(tmp_path / "home")})


@pytest.fixture
def facts(tiny_q4_k_m: Path) -> GgufFacts:
    return read_local(tiny_q4_k_m).facts


def completed(tokens: int = 21, prompt_tokens: int = 400, cached_tokens: int = 200) -> Completed:
    """An answer at 20 tokens per second, whose prompt came at 50."""
    computed = prompt_tokens - cached_tokens
    return Completed(
        Usage(prompt_tokens, tokens, cached_tokens),
        Timings(0.0, computed / 50 * 1e3, (tokens - 1) / 20 * 1e3, tokens - 1),
    )


def taught(settings: Settings) -> tuple[AnswerLesson, ...]:
    return lessons(settings).answers.get("qwen3 CPU", ())


async def test_an_answer_alone_teaches_both_rates(settings: Settings, facts: GgufFacts) -> None:
    teacher = Teacher(settings, facts, "CPU", lambda: PREDICTED)
    teacher.begin(1)
    teacher.end(completed())
    await teacher.close()
    assert taught(settings) == (AnswerLesson(facts.quantization, 0.5, 2.0),)


async def test_answers_that_run_together_teach_nothing(
    settings: Settings, facts: GgufFacts
) -> None:
    teacher = Teacher(settings, facts, "CPU", lambda: PREDICTED)
    teacher.begin(1)
    teacher.begin(1)
    teacher.end(completed())
    teacher.end(completed())
    teacher.begin(2)  # two choices of one prompt
    teacher.end(completed())
    await teacher.close()
    assert taught(settings) == ()
    teacher.begin(1)
    teacher.end(completed())
    await teacher.close()
    assert len(taught(settings)) == 1


async def test_what_was_cancelled_or_short_teaches_nothing(
    settings: Settings, facts: GgufFacts
) -> None:
    teacher = Teacher(settings, facts, "CPU", lambda: PREDICTED)
    for answer in (None, completed(LEAST_ANSWER_TOKENS)):
        teacher.begin(1)
        teacher.end(answer)
    await teacher.close()
    assert taught(settings) == ()


async def test_a_short_prompt_tells_of_the_answer_only(
    settings: Settings, facts: GgufFacts
) -> None:
    teacher = Teacher(settings, facts, "CPU", lambda: PREDICTED)
    teacher.begin(1)
    teacher.end(completed(prompt_tokens=LEAST_PROMPT_TOKENS - 1, cached_tokens=0))
    await teacher.close()
    assert [lesson.prompt for lesson in taught(settings)] == [None]


async def test_without_a_prediction_it_is_asked_for_once(
    settings: Settings, facts: GgufFacts
) -> None:
    asked: list[None] = []

    def predict() -> Speed | None:
        asked.append(None)
        return None

    teacher = Teacher(settings, facts, "CPU", predict)
    for _ in range(3):
        teacher.begin(1)
        teacher.end(completed())
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
