"""Which question is near, and that none of another group ever is."""

from __future__ import annotations

import numpy as np
import pytest

from localserve.response_cache import similar
from localserve.response_cache.question import Key
from localserve.response_cache.similar import Similar, SimilarQuestions, Vector

GROUP, OTHER = Key("m", "group"), Key("m", "other")


def vector(*numbers: float) -> Vector:
    made = np.array(numbers, np.float32)
    return made / np.linalg.norm(made)


def test_the_nearest_question_of_the_group_is_found_with_its_distance() -> None:
    questions = SimilarQuestions()
    questions.add(GROUP, vector(1, 0), Key("m", "a"), 10.0)
    questions.add(GROUP, vector(1, 1), Key("m", "b"), 10.0)
    questions.add(OTHER, vector(0, 1), Key("m", "c"), 10.0)
    found = questions.nearest(GROUP, vector(0, 1), 0.0)
    assert found == Similar(Key("m", "b"), pytest.approx(1 - 0.5**0.5))
    assert questions.nearest(OTHER, vector(1, 0), 0.0) == Similar(Key("m", "c"), 1.0)
    assert questions.nearest(Key("n", "group"), vector(1, 0), 0.0) is None


def test_what_has_expired_is_gone_or_has_another_width_is_not_found() -> None:
    questions = SimilarQuestions()
    questions.add(GROUP, vector(1, 0), Key("m", "a"), 10.0)
    assert questions.nearest(GROUP, vector(1, 0), 10.0) is None
    assert questions.nearest(GROUP, vector(1, 0, 0), 0.0) is None
    questions.drop(Key("m", "a"))
    questions.drop(Key("m", "a"))
    assert questions.nearest(GROUP, vector(1, 0), 0.0) is None


def test_the_oldest_questions_go_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(similar, "MOST_QUESTIONS", 2)
    questions = SimilarQuestions()
    for number, digest in enumerate("abc"):
        questions.add(GROUP, vector(number + 1, 1), Key("m", digest), 10.0)
    found = questions.nearest(GROUP, vector(1, 1), 0.0)
    assert found is not None
    assert found.key == Key("m", "b")
