"""Plans on machines of any size: what goes where, and what the user's settings leave."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from localserve.catalog.headers import read_local
from localserve.catalog.spec import HubFile, ModelSpec
from localserve.errors import ModelUnusable
from localserve.gguf.facts import GgufFacts
from localserve.planner.dry_run import Refused
from localserve.planner.formula import estimate
from localserve.planner.gauge import by_formula
from localserve.planner.machine import Machine
from localserve.planner.placement import ways
from localserve.planner.plan import Plan, Wanted, make_plan, runtime_of, stretched, wanted_by
from localserve.planner.runtime import Runtime
from localserve.planner.usage import RAM, MemoryUsage
from tests.planner.machines import machine
from tests.planner.real_shapes import SHAPES, write_header


@pytest.fixture(scope="module")
def facts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, GgufFacts]:
    """Qwen3 8B has 37 layers with the output, of 4.8 GB; the mixture 49 of 18.6 GB."""
    folder: Path = tmp_path_factory.mktemp("headers")
    names = ("qwen3-8b", "qwen3-30b-a3b", "qwen3-0.6b")
    return {
        name: read_local(
            write_header(folder / f"{name}.gguf", SHAPES[name], "Q4_K_M", words=False)
        ).facts
        for name in names
    }


FREE = Wanted()


def planned(facts: GgufFacts, machine: Machine, wanted: Wanted = FREE) -> Plan:
    return make_plan(facts, wanted, machine, by_formula(facts, machine.gpu_names))


def test_without_a_gpu_all_lies_in_ram(facts: dict[str, GgufFacts]) -> None:
    plan = planned(facts["qwen3-8b"], machine())
    assert (plan.fits, plan.where, plan.runtime.gpu_layers) == (True, "RAM", 0)
    assert plan.quantization == "Q4_K_M"
    assert plan.runtime.context_tokens == 8_192


@pytest.mark.parametrize(
    ("name", "gpus", "ram_gib", "tokens"),
    [
        ("qwen3-8b", (), 64, 16_384),  # 2.4 of 5.0 GB; twice as much is not cheap
        ("qwen3-30b-a3b", (), 64, 32_768),
        ("qwen3-0.6b", (), 64, 8_192),  # already 0.9 GB
        ("qwen3-8b", (24,), 64, 16_384),
        ("qwen3-8b", (6.5,), 64, 8_192),  # more would drive layers off the GPU
        ("qwen3-8b", (4,), 64, 8_192),
        ("qwen3-8b", (), 7, 8_192),  # more would not fit
        ("qwen3-8b", (), 4, 8_192),  # nothing fits
    ],
)
def test_an_open_context_is_as_long_as_is_cheap(
    facts: dict[str, GgufFacts], name: str, gpus: tuple[float, ...], ram_gib: int, tokens: int
) -> None:
    on = machine(*gpus, ram_gib=ram_gib)
    plan = planned(facts[name], on)
    longer = stretched(plan, on, by_formula(facts[name], on.gpu_names))
    assert longer.runtime.context_tokens == tokens
    assert longer.fits == plan.fits
    assert (longer.wanted, longer.where) == (plan.wanted, plan.where)
    assert longer.runtime.gpu_layers == plan.runtime.gpu_layers


def test_a_context_that_was_asked_for_is_not_stretched(facts: dict[str, GgufFacts]) -> None:
    big, on = facts["qwen3-30b-a3b"], machine()
    plan = planned(big, on, Wanted(context_tokens=4_096))
    assert stretched(plan, on, by_formula(big, on.gpu_names)) is plan


def test_what_a_gpu_holds_goes_there_whole(facts: dict[str, GgufFacts]) -> None:
    plan = planned(facts["qwen3-8b"], machine(24))
    assert (plan.where, plan.runtime.gpu_layers) == ("GPU", None)
    assert plan.usage.of(RAM).cache_bytes == 0


def test_else_as_many_layers_as_it_holds(facts: dict[str, GgufFacts]) -> None:
    small = machine(4)
    plan = planned(facts["qwen3-8b"], small)
    assert (plan.fits, plan.where) == (True, "GPU + RAM")
    assert plan.runtime.gpu_layers is not None
    assert 0 < plan.runtime.gpu_layers < 37
    one_more = replace(plan.runtime, gpu_layers=plan.runtime.gpu_layers + 1)
    taken = estimate(facts["qwen3-8b"], one_more, small.gpu_names).of("GPU0").total_bytes
    assert taken > small.gpus[0].room_bytes


def test_of_a_mixture_experts_stay_in_ram_before_layers_do(facts: dict[str, GgufFacts]) -> None:
    small = machine(12)
    plan = planned(facts["qwen3-30b-a3b"], small)
    assert (plan.fits, plan.where, plan.runtime.gpu_layers) == (True, "GPU + RAM", None)
    count = plan.runtime.cpu_expert_layers
    assert 0 < count < 48
    fewer = replace(plan.runtime, cpu_expert_layers=count - 1)
    taken = estimate(facts["qwen3-30b-a3b"], fewer, small.gpu_names).of("GPU0").total_bytes
    assert taken > small.gpus[0].room_bytes


def test_a_gpu_too_small_for_all_attention_gets_some_of_it(facts: dict[str, GgufFacts]) -> None:
    plan = planned(facts["qwen3-30b-a3b"], machine(1))
    assert plan.fits
    assert plan.runtime.cpu_expert_layers == 48
    assert plan.runtime.gpu_layers is not None
    assert 0 < plan.runtime.gpu_layers < 48


def test_two_gpus_share_by_room(facts: dict[str, GgufFacts]) -> None:
    plan = planned(facts["qwen3-8b"], machine(4, 8))
    assert (plan.fits, plan.where) == (True, "GPU")
    assert sum(plan.runtime.tensor_split) == 37
    assert plan.runtime.tensor_split[0] < plan.runtime.tensor_split[1]


def test_layers_are_dealt_out_so_that_they_fit_where_proportion_would_not(
    facts: dict[str, GgufFacts],
) -> None:
    # Proportion gives the small card the output too, which is as large as three layers.
    big = facts["qwen3-8b"]
    needed = planned(big, machine(100)).usage.of("GPU0").total_bytes / 2**30
    for share in (0.2, 0.5, 0.8):
        plan = planned(big, machine(needed * share + 0.5, needed * (1 - share) + 0.5))
        assert (plan.fits, plan.where) == (True, "GPU"), share


def test_settings_are_constraints(facts: dict[str, GgufFacts]) -> None:
    wanted = Wanted(
        context_tokens=32_768, parallel=2, cache_type_k="q8_0", cache_type_v="q4_0", gpu_layers=10
    )
    plan = planned(facts["qwen3-8b"], machine(24), wanted)
    assert plan.runtime == Runtime(
        32_768, 4, cache_type_k="q8_0", cache_type_v="q4_0", gpu_layers=10, guess_tokens=63
    )
    assert plan.parallel == 2
    assert plan.where == "GPU + RAM"


def test_a_setting_does_not_end_the_planning_of_the_rest(facts: dict[str, GgufFacts]) -> None:
    fixed = Wanted(gpu_layers=99)
    plan = planned(facts["qwen3-30b-a3b"], machine(12), fixed)
    assert plan.fits
    assert plan.runtime.cpu_expert_layers > 0
    fixed = Wanted(cpu_expert_layers=40)
    plan = planned(facts["qwen3-30b-a3b"], machine(4), fixed)
    assert plan.fits
    assert plan.runtime.cpu_expert_layers == 40
    assert plan.runtime.gpu_layers is not None


def test_gpu_layers_that_do_not_fit_are_not_overruled(facts: dict[str, GgufFacts]) -> None:
    plan = planned(facts["qwen3-8b"], machine(2), Wanted(gpu_layers=37))
    assert not plan.fits
    assert plan.tightest.place == "GPU0"
    assert plan.runtime.gpu_layers is None


def test_no_layers_on_the_gpu_may_be_asked_for(facts: dict[str, GgufFacts]) -> None:
    plan = planned(facts["qwen3-8b"], machine(24), Wanted(gpu_layers=0))
    assert (plan.fits, plan.where) == (True, "RAM")


def test_ram_is_a_hard_limit(facts: dict[str, GgufFacts]) -> None:
    plan = planned(facts["qwen3-8b"], machine(ram_gib=5))
    assert not plan.fits
    assert plan.tightest.place == RAM
    whole = planned(facts["qwen3-8b"], machine(24, ram_gib=0.25))
    assert not whole.fits  # the embedding and the process need some
    assert whole.tightest.place == RAM


def test_the_output_and_the_process_count_as_ram(facts: dict[str, GgufFacts]) -> None:
    plan = planned(facts["qwen3-8b"], machine())
    (ram,) = plan.loads
    assert ram.needed_bytes > plan.usage.total_bytes + plan.usage.output_bytes


def test_a_context_beyond_training_is_an_error_with_numbers(facts: dict[str, GgufFacts]) -> None:
    with pytest.raises(ModelUnusable, match=r"40960 tokens, 40961 were") as caught:
        planned(facts["qwen3-8b"], machine(), Wanted(context_tokens=40_961))
    assert "--ctx 40960" in caught.value.hint


def test_the_entry_of_models_toml_says_what_the_user_does_not() -> None:
    spec = ModelSpec("m", HubFile("o/m"), context_tokens=4_096, parallel=1, gpu_layers=3)
    wanted = Wanted(parallel=2, gpu_layers=0).over(wanted_by(spec))
    assert wanted == Wanted(context_tokens=4_096, parallel=2, gpu_layers=0)


def test_what_llama_cpp_refuses_does_not_fit_and_says_why(facts: dict[str, GgufFacts]) -> None:
    def refuse(runtimes: Sequence[Runtime]) -> list[MemoryUsage | Refused]:
        return [Refused("no such cache")] * len(runtimes)

    plan = make_plan(facts["qwen3-8b"], Wanted(), machine(24), refuse)
    assert (plan.fits, plan.problem) == (False, "no such cache")
    assert plan.usage.total_bytes > 0


@pytest.mark.parametrize("error", [0.8, 0.97, 1.03, 1.25])
def test_the_measure_decides_where_the_formula_is_wrong(
    facts: dict[str, GgufFacts], error: float
) -> None:
    model, small = facts["qwen3-8b"], machine(4)
    asked: list[int] = []

    def measure(runtimes: Sequence[Runtime]) -> list[MemoryUsage | Refused]:
        asked.append(len(runtimes))
        usages = [estimate(model, runtime, small.gpu_names) for runtime in runtimes]
        return [
            replace(
                usage,
                devices=tuple(
                    replace(one, compute_bytes=int(one.compute_bytes + (error - 1) * 3.2 * 2**30))
                    for one in usage.devices
                ),
            )
            for usage in usages
        ]

    plan = make_plan(model, Wanted(), small, measure)
    assert plan.fits
    assert plan.runtime.gpu_layers is not None
    assert len(asked) <= 6
    if error > 1:
        assert plan.runtime.gpu_layers > 0


ROOMS = st.floats(0, 32)


@settings(max_examples=40, deadline=None)
@given(st.lists(ROOMS, max_size=3), st.floats(0.1, 40), st.sampled_from(["qwen3-8b", "mixture"]))
def test_a_plan_that_fits_exceeds_no_place(
    facts: dict[str, GgufFacts], gpus: list[float], ram: float, name: str
) -> None:
    model = facts["qwen3-30b-a3b" if name == "mixture" else name]
    plan = planned(model, machine(*gpus, ram_gib=ram))
    if plan.fits:
        assert all(load.needed_bytes <= load.room_bytes for load in plan.loads)
    else:
        assert plan.tightest.needed_bytes > plan.tightest.room_bytes


@settings(max_examples=40, deadline=None)
@given(
    st.lists(ROOMS, max_size=2),
    st.floats(0.1, 40),
    st.floats(0, 8),
    st.integers(0, 2),
    st.sampled_from(["qwen3-8b", "mixture"]),
)
def test_more_room_never_makes_a_worse_plan(
    facts: dict[str, GgufFacts], gpus: list[float], ram: float, more: float, where: int, name: str
) -> None:
    model = facts["qwen3-30b-a3b" if name == "mixture" else name]
    rooms = [*gpus, ram]
    rooms[where % len(rooms)] += more
    before = planned(model, machine(*gpus, ram_gib=ram))
    after = planned(model, machine(*rooms[:-1], ram_gib=rooms[-1]))
    if before.fits:
        assert after.fits
        assert rank(model, after, len(gpus)) <= rank(model, before, len(gpus))


def rank(model: GgufFacts, plan: Plan, gpus: int) -> int:
    """The place of a plan among all ways, best first."""
    order = ways(model, runtime_of(model, Wanted()), machine(*[1] * gpus), None, None)
    return order.index(replace(plan.runtime, tensor_split=()))
