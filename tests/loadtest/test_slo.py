"""Objectives: what can be promised, and what holds."""

from __future__ import annotations

import pytest

from localserve.loadtest.figures import Distribution, StepFigures
from localserve.loadtest.slo import METRICS, Objective, SloInvalid, parse_slo

STEP = StepFigures(
    users=2,
    seconds=10.0,
    requests=100,
    errors={"503": 2},
    ttft=Distribution(0.1, 0.4, 0.9),
    itl=Distribution(0.01, 0.02, 0.03),
    total=Distribution(1.0, 2.0, 3.0),
    tokens_per_second=50.0,
)
SILENT = StepFigures(2, 10.0, 3, {"401": 3}, None, None, None, 0.0)


def test_objectives_are_read_in_their_order() -> None:
    assert parse_slo("p95_ttft=0.5, error_rate = 0.01") == (
        Objective("p95_ttft", 0.5),
        Objective("error_rate", 0.01),
    )
    assert [str(one) for one in parse_slo("p99_itl=1e-2,tokens_per_second=40")] == [
        "p99_itl ≤ 0.01",
        "tokens_per_second ≥ 40",
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("p95_tftt=0.5", "Did you mean p95_ttft?"),
        ("speed=3", "There are p50_ttft, p95_ttft"),
        ("p95_ttft", "NAME=BOUND"),
        ("", "NAME=BOUND"),
        ("p95_ttft=0.5,", "NAME=BOUND"),
        ("p95_ttft=", "bound of p95_ttft is ''"),
        ("p95_ttft=0.5s", "bound of p95_ttft is '0.5s'"),
        ("p95_ttft=nan", "at least 0"),
        ("p95_ttft=inf", "at least 0"),
        ("p95_ttft=-1", "at least 0"),
        ("error_rate=1.5", "from 0 to 1"),
        ("p95_ttft=1,p95_ttft=2", "twice"),
    ],
)
def test_what_is_no_objective_is_refused_with_what_would_be(text: str, words: str) -> None:
    with pytest.raises(SloInvalid) as refused:
        parse_slo(text)
    assert words in str(refused.value)


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("p50_ttft=0.1", True),
        ("p95_ttft=0.39", False),
        ("p99_total=3", True),
        ("p95_itl=0.01", False),
        ("error_rate=0.02", True),
        ("error_rate=0.01", False),
        ("tokens_per_second=50", True),
        ("tokens_per_second=51", False),
    ],
)
def test_an_objective_holds_up_to_its_bound(text: str, holds: bool) -> None:
    (objective,) = parse_slo(text)
    assert objective.holds(STEP) is holds


def test_what_answered_nothing_holds_nothing() -> None:
    assert not Objective("p99_total", 1e9).holds(SILENT)
    assert not Objective("tokens_per_second", 1.0).holds(SILENT)


@pytest.mark.parametrize("name", METRICS)
def test_every_metric_measures_a_step(name: str) -> None:
    measured = METRICS[name].measure(STEP)
    assert measured is not None
    assert measured > 0
