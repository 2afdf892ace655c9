"""The choice among quantizations, and what is a trade."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from localserve.catalog.headers import read_local
from localserve.gguf.facts import GgufFacts
from localserve.planner.choice import bits_per_weight, choose, frontier, quality
from localserve.planner.forecast import TokenTime
from localserve.planner.gauge import by_formula
from localserve.planner.machine import Machine
from localserve.planner.plan import Plan, Wanted, make_plan
from localserve.planner.speed import Speed
from tests.planner.machines import machine
from tests.planner.real_shapes import QUANTIZATIONS, SHAPES, write_header


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, GgufFacts]:
    folder: Path = tmp_path_factory.mktemp("headers")
    shape = SHAPES["qwen3-0.6b"]
    return {
        name: read_local(write_header(folder / f"{name}.gguf", shape, name, words=False)).facts
        for name in QUANTIZATIONS
    }


def plans(
    files: dict[str, GgufFacts], machine: Machine, rates: dict[str, float] | None = None
) -> list[Plan]:
    """Of every quantization, as quick as `rates` says (else quick enough)."""
    made = []
    for name, facts in files.items():
        plan = make_plan(facts, Wanted(), machine, by_formula(facts, ()), quantization=name)
        token = TokenTime(1 / (rates or {}).get(name, 20.0), 0.0, 0.0)
        made.append(replace(plan, speed=Speed(token, None, None)))
    return made


def picked(plans: list[Plan]) -> str | None:
    plan = choose(plans)
    return plan.quantization if plan is not None else None


def test_the_best_that_fits_is_taken(files: dict[str, GgufFacts]) -> None:
    assert picked(plans(files, machine())) == "Q8_0"
    gib = 2**30
    room = {one.quantization: one.tightest.needed_bytes / gib for one in plans(files, machine())}
    for name in ("Q6_K", "Q5_K_M", "Q4_K_M", "Q2_K"):
        assert picked(plans(files, machine(ram_gib=room[name] + 0.001))) == name
    assert picked(plans(files, machine(ram_gib=room["Q2_K"] - 0.001))) is None


def test_beyond_eight_bits_nothing_is_gained(files: dict[str, GgufFacts]) -> None:
    found = {plan.quantization: quality(plan) for plan in plans(files, machine())}
    assert found["F16"] == found["Q8_0"] > found["Q6_K"] > found["Q4_K_M"] > found["Q2_K"]
    assert bits_per_weight(files["F16"]) == pytest.approx(16, abs=0.1)


def test_what_is_too_slow_gives_way_to_what_is_quick_enough(files: dict[str, GgufFacts]) -> None:
    assert picked(plans(files, machine(), {"F16": 5, "Q8_0": 8, "Q6_K": 11})) == "Q6_K"


def test_a_slow_answer_of_four_bits_is_better_than_a_quick_one_of_two(
    files: dict[str, GgufFacts],
) -> None:
    rates = {"F16": 1.0, "Q8_0": 2.0, "Q6_K": 3.0, "Q5_K_M": 4.0, "Q4_K_M": 5.0, "Q2_K": 50.0}
    assert picked(plans(files, machine(), rates)) == "Q4_K_M"
    few_bits = {"Q2_K": files["Q2_K"]}
    assert picked(plans(few_bits, machine(), rates)) == "Q2_K"


def test_an_unknown_speed_speaks_against_nothing(files: dict[str, GgufFacts]) -> None:
    unknown = [replace(plan, speed=None) for plan in plans(files, machine())]
    assert picked(unknown) == "Q8_0"


def test_the_frontier_is_what_nothing_else_beats_in_everything(files: dict[str, GgufFacts]) -> None:
    rates = {"F16": 10.0, "Q8_0": 20.0, "Q6_K": 15.0, "Q5_K_M": 30.0, "Q4_K_M": 40.0, "Q2_K": 35.0}
    found = frontier(plans(files, machine(), rates))
    assert [plan.quantization for plan in found] == ["Q4_K_M", "Q5_K_M", "Q8_0"]
    assert frontier(plans(files, machine(ram_gib=0.1), rates)) == []
