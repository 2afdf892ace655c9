"""Verdicts by formula: the level, the quantization that is looked at, and the whole answer."""

from __future__ import annotations

from dataclasses import replace

import pytest

from localserve.catalog.headers import read_local
from localserve.errors import ModelUnusable
from localserve.planner.document import fit_document
from localserve.planner.machine import Machine
from localserve.planner.plan import Wanted
from localserve.planner.quick import Subject, outlook, quick_fit
from tests.planner.machines import GIB, machine
from tests.planner.real_shapes import SHAPES, write_header

KINDS = ("Q4_K_M", "Q8_0", "F16")


@pytest.fixture(scope="module")
def subject(tmp_path_factory: pytest.TempPathFactory) -> Subject:
    folder = tmp_path_factory.mktemp("quantizations")
    shape = SHAPES["qwen3-8b"]
    facts = {
        kind: read_local(write_header(folder / f"{kind}.gguf", shape, kind, words=False)).facts
        for kind in KINDS
    }
    return Subject("qwen3-8b", facts, Wanted())


def busy(on: Machine, others_gib: float) -> Machine:
    """With so much of RAM in the hands of other programs."""
    return replace(on, ram=replace(on.ram, free_bytes=on.ram.free_bytes - int(others_gib * GIB)))


def test_it_fits_or_not_now_or_never(subject: Subject) -> None:
    assert outlook(subject, machine(ram_gib=32)).level == "fits"
    assert outlook(subject, busy(machine(ram_gib=32), 30)).level == "not now"
    never = outlook(subject, machine(ram_gib=3))
    assert never.level == "too large"
    assert never.plan.quantization == "Q4_K_M"
    assert never.plan.headroom_bytes < 0


def test_what_is_here_is_looked_at_and_not_what_would_be_better(subject: Subject) -> None:
    on = machine(24)
    assert outlook(subject, on).plan.quantization == "Q8_0"
    assert outlook(replace(subject, here="Q4_K_M"), on).plan.quantization == "Q4_K_M"
    fit, level = quick_fit(replace(subject, here="Q4_K_M"), on)
    assert level == "fits"
    assert (fit.picked, fit.elsewhere) == (fit.shown, {"Q8_0", "F16"})
    assert fit.better is not None
    assert fit.better.quantization == "Q8_0"


def test_the_whole_answer_has_the_grid_and_what_would_help(subject: Subject) -> None:
    on = machine(10, ram_gib=64)
    fit, level = quick_fit(subject, on)
    document = fit_document(fit, on)
    grid = document["grid"]
    contexts = {point["context_tokens"] for point in grid}
    assert {8192, 16384, 32768} <= contexts
    assert len(grid) == len(contexts) * len(KINDS)
    best = {(one["quantization"], one["context_tokens"]) for one in grid if one["best"]}
    assert best == {(one["quantization"], one["context_tokens"]) for one in document["frontier"]}
    assert len(best) > 1
    short, level = quick_fit(replace(subject, here="Q8_0"), machine(ram_gib=9))
    assert level == "too large"
    assert short.picked is None
    assert short.explanation.short_bytes > 0
    assert "the quantization Q4_K_M" in {change.text for change in short.explanation.changes}


def test_a_context_beyond_the_trained_one_is_refused(subject: Subject) -> None:
    with pytest.raises(ModelUnusable, match="trained for a context of"):
        outlook(replace(subject, wanted=Wanted(context_tokens=1 << 20)), machine())
