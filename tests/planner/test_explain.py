"""Why a plan does not fit, and what would help: each change is computed before it is told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from localserve.catalog.headers import read_local
from localserve.gguf.facts import GgufFacts
from localserve.planner.dry_run import Refused
from localserve.planner.explain import Change, Explanation, explain
from localserve.planner.gauge import by_formula
from localserve.planner.machine import Machine, Program
from localserve.planner.plan import Plan, Wanted, make_plan
from localserve.planner.runtime import Runtime
from localserve.planner.usage import RAM, MemoryUsage
from tests.planner.machines import GIB, machine
from tests.planner.real_shapes import SHAPES, write_header


@pytest.fixture(scope="module")
def facts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, GgufFacts]:
    folder: Path = tmp_path_factory.mktemp("headers")
    cases = [("qwen3-8b", "Q4_K_M"), ("qwen3-8b", "Q2_K"), ("qwen3-8b", "Q8_0")]
    cases += [("gemma-3-12b", "Q4_K_M"), ("qwen3-30b-a3b", "Q4_K_M")]
    return {
        f"{name} {kind}": read_local(
            write_header(folder / f"{name}-{kind}.gguf", SHAPES[name], kind, words=False)
        ).facts
        for name, kind in cases
    }


def planned(facts: GgufFacts, wanted: Wanted, machine: Machine) -> Plan:
    return make_plan(facts, wanted, machine, by_formula(facts, machine.gpu_names))


def reasons(
    facts: GgufFacts, wanted: Wanted, machine: Machine, others: Sequence[Plan] = ()
) -> Explanation:
    plan = planned(facts, wanted, machine)
    return explain(plan, machine, by_formula(facts, machine.gpu_names), others)


def of_kind(found: Explanation, kind: str) -> Change:
    return next(change for change in found.changes if change.kind == kind)


def test_the_terms_add_up_to_what_the_place_holds(facts: dict[str, GgufFacts]) -> None:
    wanted, big = Wanted(), machine()
    found = reasons(facts["qwen3-8b Q4_K_M"], wanted, big)
    assert (found.place.name, found.short_bytes, found.changes) == (RAM, 0, ())
    terms = {term.kind: term.size_bytes for term in found.terms}
    (ram,) = planned(facts["qwen3-8b Q4_K_M"], wanted, big).loads
    assert ram.needed_bytes == sum(terms.values())
    assert list(terms)[:5] == ["weights", "cache", "compute", "output", "process"]


def test_what_is_missing_is_said_in_bytes(facts: dict[str, GgufFacts]) -> None:
    found = reasons(facts["qwen3-8b Q4_K_M"], Wanted(), machine(ram_gib=4))
    plan = planned(facts["qwen3-8b Q4_K_M"], Wanted(), machine(ram_gib=4))
    assert found.short_bytes == plan.tightest.needed_bytes - 4 * GIB


def test_a_shorter_context_is_the_longest_that_fits(facts: dict[str, GgufFacts]) -> None:
    small, model = machine(ram_gib=7.5), facts["qwen3-8b Q4_K_M"]
    change = of_kind(reasons(model, Wanted(context_tokens=32_768), small), "context")
    assert change.plan is not None
    tokens = change.plan.runtime.context_tokens
    assert change.text == f"--ctx {tokens}"
    assert change.plan.fits
    assert not planned(model, Wanted(context_tokens=tokens + 256), small).fits


def test_a_coarser_cache_is_told_before_a_shorter_context(facts: dict[str, GgufFacts]) -> None:
    found = reasons(facts["qwen3-8b Q4_K_M"], Wanted(context_tokens=16_384), machine(ram_gib=6.7))
    kinds = [change.kind for change in found.changes]
    assert kinds == ["cache", "context"]
    change = of_kind(found, "cache")
    assert change.text == "--cache-type-k q8_0 --cache-type-v q8_0"
    assert change.plan is not None
    assert change.plan.runtime.context_tokens == 16_384


def test_fewer_requests_help_where_each_has_a_window(facts: dict[str, GgufFacts]) -> None:
    model = facts["gemma-3-12b Q4_K_M"]
    wanted = Wanted(context_tokens=32_768, parallel=16)
    needed = planned(model, wanted, machine()).tightest.needed_bytes / GIB
    small = machine(ram_gib=needed - 3)
    change = of_kind(reasons(model, wanted, small), "parallel")
    assert change.plan is not None
    parallel = change.plan.parallel
    assert 1 <= parallel < 16
    assert change.text == f"--parallel {parallel}"
    assert not planned(model, replace(wanted, parallel=parallel + 1), small).fits


def test_layers_that_were_forced_may_be_left_to_the_plan(facts: dict[str, GgufFacts]) -> None:
    found = reasons(facts["qwen3-8b Q4_K_M"], Wanted(gpu_layers=37), machine(4))
    assert found.place.name == "GPU0"
    assert found.changes[0].kind == "placement"
    assert found.changes[0].plan is not None
    assert found.changes[0].plan.fits


def test_another_program_is_named_where_closing_it_is_enough(facts: dict[str, GgufFacts]) -> None:
    full = machine(24)
    users = (Program("blender", 12 * GIB), Program("editor", GIB), Program("hidden", None))
    gpu = replace(full.gpus[0], free_bytes=4 * GIB, programs=users)
    full = replace(full, gpus=(gpu,))
    found = reasons(facts["qwen3-8b Q4_K_M"], Wanted(gpu_layers=99), full)
    assert of_kind(found, "program").text == "closing blender, which has memory of GPU0,"
    terms = {term.kind: term.size_bytes for term in found.terms}
    assert terms["other_programs"] == 20 * GIB


def test_a_smaller_quantization_comes_last(facts: dict[str, GgufFacts]) -> None:
    small = machine(ram_gib=6)
    names = ("qwen3-8b Q8_0", "qwen3-8b Q4_K_M", "qwen3-8b Q2_K")
    plans = [planned(facts[name], Wanted(), small) for name in names]
    measure = by_formula(plans[0].facts, ())
    found = explain(plans[0], small, measure, plans)
    assert found.changes[-1].kind == "quantization"
    assert found.changes[-1].plan is not None
    assert found.changes[-1].plan.fits


def test_where_nothing_helps_nothing_is_promised(facts: dict[str, GgufFacts]) -> None:
    found = reasons(facts["qwen3-30b-a3b Q4_K_M"], Wanted(), machine(2, ram_gib=8))
    assert found.changes == ()
    assert found.short_bytes > 0


def test_a_guess_that_the_measure_does_not_confirm_is_not_told(facts: dict[str, GgufFacts]) -> None:
    model, small = facts["qwen3-8b Q4_K_M"], machine(ram_gib=6.7)
    asked: list[Runtime] = []

    def measure(runtimes: Sequence[Runtime]) -> list[MemoryUsage | Refused]:
        asked.extend(runtimes)
        usages = by_formula(model, ())(runtimes)
        return [
            Refused("no such cache") if runtime.cache_type_k == "q8_0" else usage
            for runtime, usage in zip(runtimes, usages, strict=True)
        ]

    plan = make_plan(model, Wanted(context_tokens=16_384), small, measure)
    found = explain(plan, small, measure)
    assert [change.kind for change in found.changes] == ["context"]
    assert any(runtime.cache_type_k == "q8_0" for runtime in asked)


def test_what_llama_cpp_refuses_may_do_with_another_cache(facts: dict[str, GgufFacts]) -> None:
    model, big = facts["qwen3-8b Q4_K_M"], machine()

    def measure(runtimes: Sequence[Runtime]) -> list[MemoryUsage | Refused]:
        usages = by_formula(model, ())(runtimes)
        return [
            Refused("no such cache") if runtime.cache_type_v == "q4_0" else usage
            for runtime, usage in zip(runtimes, usages, strict=True)
        ]

    plan = make_plan(model, Wanted(cache_type_v="q4_0"), big, measure)
    found = explain(plan, big, measure)
    assert "cache" in [change.kind for change in found.changes]
