"""What loads and answers teach, on disk and back."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from localserve.catalog.headers import read_local
from localserve.config import Settings, read_settings
from localserve.gguf.facts import GgufFacts
from localserve.planner.learned import (
    FILE_NAME,
    MOST_ENTRIES,
    MOST_SURCHARGE,
    RECENT,
    Lessons,
    LoadLesson,
    learn_answer,
    learn_load,
    lesson_of,
    lessons,
)
from localserve.planner.speed import AS_PREDICTED, Corrections
from tests.planner.real_shapes import SHAPES, write_header


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return read_settings({}, {"LOCALSERVE_HOME": str(tmp_path)})


def test_at_first_all_is_as_predicted(settings: Settings, tmp_path: Path) -> None:
    known = lessons(settings)
    assert known == Lessons()
    assert known.surcharge("qwen3", "CPU") == 0
    assert known.correct("here", facts_of("qwen3-0.6b", tmp_path), "CPU") == AS_PREDICTED


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


def facts_of(name: str, folder: Path, quantization: str = "Q4_K_M") -> GgufFacts:
    path = folder / f"{name}-{quantization}.gguf"
    return read_local(write_header(path, SHAPES[name], quantization, words=False)).facts


def teach(
    settings: Settings,
    facts: GgufFacts,
    *ratios: float,
    machine: str = "here",
    backend: str = "CPU",
) -> None:
    for ratio in ratios:
        learn_answer(settings, lesson_of(facts, machine, backend, ratio, ratio))


def test_one_answer_corrects_its_model_in_full(settings: Settings, tmp_path: Path) -> None:
    facts = facts_of("qwen3-0.6b", tmp_path)
    learn_answer(settings, lesson_of(facts, "here", "CPU", decode=1.3))
    assert lessons(settings).correct("here", facts, "CPU") == Corrections(1.3, 1.0, 1, 0)


def test_answers_at_a_bad_moment_spoil_nothing(settings: Settings, tmp_path: Path) -> None:
    facts = facts_of("qwen3-0.6b", tmp_path)
    teach(settings, facts, 3.0, 1.1, 1.15, 4.0, 1.12)
    assert lessons(settings).correct("here", facts, "CPU").decode == 1.15


def test_one_lucky_answer_of_many_does_not_count(settings: Settings, tmp_path: Path) -> None:
    facts = facts_of("qwen3-0.6b", tmp_path)
    teach(settings, facts, 1.1, 1.2, 0.7, 1.1, 1.15)
    assert lessons(settings).correct("here", facts, "CPU").decode == 1.1


def test_a_machine_that_became_slower_is_believed_in_the_end(
    settings: Settings, tmp_path: Path
) -> None:
    facts = facts_of("qwen3-0.6b", tmp_path)
    teach(settings, facts, *[1.0] * 20, *[1.5] * 3)
    assert lessons(settings).correct("here", facts, "CPU").decode == 1.0
    teach(settings, facts, 1.5, 1.5)
    known = lessons(settings)
    assert known.correct("here", facts, "CPU") == Corrections(1.5, 1.5, RECENT, 0)
    assert len(known.answers) == RECENT


def test_models_alike_are_corrected_by_half(settings: Settings, tmp_path: Path) -> None:
    taught = facts_of("qwen3-0.6b", tmp_path)
    teach(settings, taught, 4.0)
    same_quantization = facts_of("llama-3.1-8b", tmp_path)
    same_shape = facts_of("qwen3-0.6b", tmp_path, "Q8_0")
    neither = facts_of("llama-3.1-8b", tmp_path, "Q8_0")
    known = lessons(settings)
    for facts in (same_quantization, same_shape):
        assert known.correct("here", facts, "CPU") == Corrections(2.0, 2.0, 0, 1)
    assert known.correct("here", neither, "CPU") == AS_PREDICTED
    teach(settings, same_shape, 1.0)
    assert lessons(settings).correct("here", same_shape, "CPU") == Corrections(1.0, 1.0, 1, 1)


def test_what_was_learned_elsewhere_does_not_count(settings: Settings, tmp_path: Path) -> None:
    facts = facts_of("qwen3-0.6b", tmp_path)
    teach(settings, facts, 2.0, machine="before the new processor")
    teach(settings, facts, 3.0, backend="CUDA")
    assert lessons(settings).correct("here", facts, "CPU") == AS_PREDICTED


@pytest.mark.parametrize("ratio", [0.0, -1.0, 100.0, 0.01, float("nan"), float("inf")])
def test_an_impossible_answer_teaches_nothing(
    settings: Settings, tmp_path: Path, ratio: float
) -> None:
    teach(settings, facts_of("qwen3-0.6b", tmp_path), ratio)
    assert lessons(settings) == Lessons()


def test_answers_of_an_earlier_layout_are_forgotten_and_loads_are_not(settings: Settings) -> None:
    learn_load(settings, "qwen3", "CPU", LoadLesson(1_000, 1_010))
    path = settings.data_dir / FILE_NAME
    document = json.loads(path.read_text())
    old = {"qwen3 CPU": [{"quantization": "Q4_K_M", "decode": 1.0, "prompt": None}]}
    path.write_text(json.dumps({**document, "answers": old}))
    assert lessons(settings) == Lessons({"qwen3 CPU": (LoadLesson(1_000, 1_010),)})


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
        b'{"format": 1, "loads": {}, "answers": [{"machine": "here"}]}',
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
