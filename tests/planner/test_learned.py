"""What loads and answers teach, on disk and back."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from localserve.config import Settings, read_settings
from localserve.planner.learned import (
    FILE_NAME,
    MOST_ENTRIES,
    MOST_SURCHARGE,
    AnswerLesson,
    Lessons,
    LoadLesson,
    learn_answer,
    learn_load,
    lessons,
)
from localserve.planner.speed import AS_PREDICTED, Corrections


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return read_settings({}, {"LOCALSERVE_HOME": str(tmp_path)})


def test_at_first_all_is_as_predicted(settings: Settings) -> None:
    known = lessons(settings)
    assert known == Lessons()
    assert known.surcharge("qwen3", "CPU") == 0
    assert known.corrections("qwen3", "CPU", "Q4_K_M") == AS_PREDICTED


def test_the_worst_load_is_the_surcharge(settings: Settings) -> None:
    for measured in (1_000, 1_040, 990):
        learn_load(settings, "qwen3", "CPU", LoadLesson(1_000, measured))
    learn_load(settings, "llama", "CPU", LoadLesson(1_000, 900))
    learn_load(settings, "phi3", "CPU", LoadLesson(1_000, 9_000))
    known = lessons(settings)
    assert known.surcharge("qwen3", "CPU") == pytest.approx(0.04)
    assert known.surcharge("qwen3", "CUDA") == 0
    assert known.surcharge("llama", "CPU") == 0
    assert known.surcharge("phi3", "CPU") == MOST_SURCHARGE


def test_the_median_of_the_same_quantization_corrects_speeds(settings: Settings) -> None:
    for decode in (1.2, 1.3, 5.0):
        learn_answer(settings, "qwen3", "CPU", AnswerLesson("Q4_K_M", decode, None))
    learn_answer(settings, "qwen3", "CPU", AnswerLesson("Q8_0", 2.0, 0.5))
    known = lessons(settings)
    assert known.corrections("qwen3", "CPU", "Q4_K_M") == Corrections(1.3, 1.0, 3)
    assert known.corrections("qwen3", "CPU", "Q8_0") == Corrections(2.0, 0.5, 1)
    assert known.corrections("qwen3", "CPU", "Q6_K") == Corrections(1.65, 0.5, 4)


@pytest.mark.parametrize("ratio", [0.0, -1.0, 100.0, 0.01, float("nan"), float("inf")])
def test_a_disturbed_answer_teaches_nothing(settings: Settings, ratio: float) -> None:
    learn_answer(settings, "qwen3", "CPU", AnswerLesson("Q4_K_M", ratio, None))
    assert lessons(settings) == Lessons()


def test_only_the_newest_are_kept(settings: Settings) -> None:
    for number in range(MOST_ENTRIES + 5):
        learn_load(settings, "qwen3", "CPU", LoadLesson(1_000, 1_000 + number))
    kept = lessons(settings).loads["qwen3 CPU"]
    assert len(kept) == MOST_ENTRIES
    assert kept[-1] == LoadLesson(1_000, 1_000 + MOST_ENTRIES + 4)


def test_writers_at_the_same_time_lose_nothing(settings: Settings) -> None:
    with ThreadPoolExecutor(4) as writers:
        for number in range(12):
            lesson = LoadLesson(1_000, 1_000 + number)
            writers.submit(learn_load, settings, f"model{number % 3}", "CPU", lesson)
    assert sum(map(len, lessons(settings).loads.values())) == 12
    assert [path.name for path in settings.data_dir.iterdir() if path.suffix == ".part"] == []


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"\xff",
        b'{"format": 2, "loads": {}, "answers": {}}',
        b'{"format": 1, "loads": [], "answers": {}}',
        b'{"format": 1, "loads": {"a": [{"predicted_bytes": "x"}]}, "answers": {}}',
        b"[" * 100_000,
    ],
)
def test_a_damaged_file_is_begun_again(settings: Settings, content: bytes) -> None:
    settings.data_dir.mkdir(parents=True)
    (settings.data_dir / FILE_NAME).write_bytes(content)
    assert lessons(settings) == Lessons()
    learn_load(settings, "qwen3", "CPU", LoadLesson(1_000, 1_010))
    assert json.loads((settings.data_dir / FILE_NAME).read_text())["loads"].keys() == {"qwen3 CPU"}


def test_a_folder_that_cannot_be_written_is_no_error(settings: Settings) -> None:
    settings.data_dir.parent.mkdir(parents=True, exist_ok=True)
    settings.data_dir.write_text("a file in the place of the folder")
    learn_load(settings, "qwen3", "CPU", LoadLesson(1_000, 1_010))
    assert lessons(settings) == Lessons()
