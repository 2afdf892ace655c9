"""Tokens per second: every active weight once, on the device where it lies."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from localserve.catalog.headers import read_local
from localserve.gguf.facts import GgufFacts
from localserve.planner.bandwidth import StepRates, Throughput
from localserve.planner.forecast import Forecast, Share
from localserve.planner.machine import Machine
from localserve.planner.runtime import Runtime
from localserve.planner.speed import Corrections, predict
from tests.planner.machines import machine
from tests.planner.real_shapes import SHAPES, write_header

RUNTIME = Runtime(8_192, 16)


def facts_of(name: str, folder: Path, quantization: str = "Q4_K_M") -> GgufFacts:
    return read_local(
        write_header(folder / f"{name}.gguf", SHAPES[name], quantization, words=False)
    ).facts


def all_shares(forecast: Forecast) -> dict[tuple[str, str], Share]:
    keys = {*forecast.body, *forecast.head}
    return {key: forecast.body.get(key, Share()) + forecast.head.get(key, Share()) for key in keys}


def with_steps(steps: StepRates) -> Machine:
    made = machine()
    return replace(made, ram=replace(made.ram, steps=steps))


def seconds(value: float | None) -> float:
    assert value is not None
    return value


def test_decoding_reads_all_weights_but_the_embedding_and_some_cache(tmp_path: Path) -> None:
    facts = facts_of("llama-3.1-8b", tmp_path, "F16")
    speed = predict(facts, replace(RUNTIME, gpu_layers=0), machine())
    assert speed is not None
    embedding = facts.tensor("token_embd.weight")
    assert embedding is not None
    cache_bytes = 1_024 * 32 * 2 * 1_024 * 2
    read = facts.weights_bytes - embedding.size_bytes + cache_bytes
    assert speed.decode == pytest.approx(50e9 / read, rel=0.01)


def test_a_prompt_multiplies_all_weights_with_all_tokens(tmp_path: Path) -> None:
    facts = facts_of("qwen3-0.6b", tmp_path)
    speed = predict(facts, RUNTIME, machine())
    assert speed is not None
    assert speed.prompt is not None
    assert speed.first_token_seconds == pytest.approx(1_024 / speed.prompt)
    body = Forecast(facts, RUNTIME, machine()).body
    layers = sum(share.weights for share in body.values())
    assert layers == pytest.approx(430e6, rel=0.02)  # of 596 million, 156 of which are the output
    attention = 28 * 2 * 16 * 2 * 128 * 512 / 300e9
    assert 1 / speed.prompt == pytest.approx(2 * layers / 400e9 + attention, rel=0.05)


def test_of_a_mixture_only_the_experts_in_use_count(tmp_path: Path) -> None:
    facts = facts_of("qwen3-30b-a3b", tmp_path)
    used = all_shares(Forecast(facts, RUNTIME, machine()))
    assert sum(share.weights for share in used.values()) == pytest.approx(3.0e9, rel=0.05)


def test_devices_take_turns(tmp_path: Path) -> None:
    facts = facts_of("llama-3.1-8b", tmp_path)
    speeds = [
        predict(facts, replace(RUNTIME, gpu_layers=layers), machine(24)) for layers in (0, 16, None)
    ]
    rates = [speed.decode for speed in speeds if speed is not None]
    assert len(rates) == 3
    assert rates[0] < rates[1] < rates[2]
    halves = all_shares(Forecast(facts, replace(RUNTIME, gpu_layers=16), machine(24)))
    assert {device for device, _ in halves} == {"CPU", "GPU0"}


def test_without_any_rate_nothing_is_said(tmp_path: Path) -> None:
    bare = machine()
    bare = replace(bare, ram=replace(bare.ram, rates={}))
    assert predict(facts_of("qwen3-0.6b", tmp_path), RUNTIME, bare) is None


def test_where_only_reading_was_measured_no_word_is_said_of_prompts(tmp_path: Path) -> None:
    some = machine()
    reading = {"F32": Throughput(48e9, None)}
    some = replace(some, ram=replace(some.ram, rates=reading))
    speed = predict(facts_of("qwen3-0.6b", tmp_path), RUNTIME, some)
    assert speed is not None
    assert (speed.prompt, speed.first_token_seconds) == (None, None)


def test_what_was_learned_scales_the_times(tmp_path: Path) -> None:
    facts = facts_of("qwen3-0.6b", tmp_path)
    plain = predict(facts, RUNTIME, machine())
    slower = predict(facts, RUNTIME, machine(), Corrections(decode=2.0, prompt=4.0, answers=3))
    assert plain is not None
    assert slower is not None
    assert slower.decode == pytest.approx(plain.decode / 2)
    assert plain.prompt is not None
    assert slower.prompt == pytest.approx(plain.prompt / 4)


def test_each_operation_of_a_step_takes_time_to_start(tmp_path: Path) -> None:
    facts = facts_of("qwen3-0.6b", tmp_path)
    plain = Forecast(facts, RUNTIME, machine())
    started = Forecast(facts, RUNTIME, with_steps(StepRates(operation_seconds=1e-3)))
    operations = 28 * (11 + 9) + 2
    for one in (1, 512):
        more = seconds(started.prompt_seconds(one)) - seconds(plain.prompt_seconds(one))
        assert more == pytest.approx(operations * 1e-3)
    more = seconds(started.prompt_seconds(513)) - seconds(plain.prompt_seconds(513))
    assert more == pytest.approx(2 * operations * 1e-3)  # two batches
    more = seconds(started.token_seconds(9)) - seconds(plain.token_seconds(9))
    assert more == pytest.approx(operations * 1e-3)


def test_attention_takes_longer_the_more_there_is_to_look_at(tmp_path: Path) -> None:
    facts = facts_of("qwen3-0.6b", tmp_path)
    slow = with_steps(StepRates(decode_attention_flops_per_second=1e9))
    forecast = Forecast(facts, RUNTIME, slow)
    more = seconds(forecast.token_seconds(2_000)) - seconds(forecast.token_seconds(1_000))
    assert more == pytest.approx(28 * 2 * 16 * 2 * 128 * 1_000 / 1e9)


def test_reading_a_large_cache_is_what_attention_takes_at_least(tmp_path: Path) -> None:
    facts = facts_of("qwen3-0.6b", tmp_path)
    quick = with_steps(StepRates(decode_attention_flops_per_second=1e18))
    forecast = Forecast(facts, RUNTIME, quick)
    more = seconds(forecast.token_seconds(2_000)) - seconds(forecast.token_seconds(1_000))
    assert more == pytest.approx(28 * 2 * 8 * 128 * 2 * 1_000 / 50e9)


def test_a_window_bounds_what_attention_looks_at(tmp_path: Path) -> None:
    facts = facts_of("gemma-3-12b", tmp_path)
    slow = with_steps(StepRates(decode_attention_flops_per_second=1e9))
    forecast = Forecast(facts, RUNTIME, slow)
    windowed = sum(facts.hyperparameters.attention.windowed)
    layers = len(facts.hyperparameters.attention.windowed)
    early = seconds(forecast.token_seconds(1_000)) - seconds(forecast.token_seconds(0))
    late = seconds(forecast.token_seconds(3_000)) - seconds(forecast.token_seconds(2_000))
    assert late / early == pytest.approx((layers - windowed) / layers)


def test_a_prompt_whose_beginning_is_kept_takes_less(tmp_path: Path) -> None:
    forecast = Forecast(facts_of("qwen3-0.6b", tmp_path), RUNTIME, machine())
    whole = seconds(forecast.prompt_seconds(1_024))
    rest = seconds(forecast.prompt_seconds(512, 512))
    alone = seconds(forecast.prompt_seconds(512))
    assert alone < rest < whole
    head = sum(share.read_bytes / 40e9 for share in forecast.head.values())
    assert alone + rest - head == pytest.approx(whole)


def test_few_tokens_of_a_mixture_read_more_than_they_compute(tmp_path: Path) -> None:
    forecast = Forecast(facts_of("qwen3-30b-a3b", tmp_path), RUNTIME, machine())
    held = sum(share.held_bytes for share in forecast.body.values())
    read = sum(share.read_bytes for share in forecast.body.values())
    assert held > 5 * read
    two = seconds(forecast.prompt_seconds(2)) - seconds(forecast.prompt_seconds(1))
    assert two == pytest.approx(read / 40e9, rel=0.05)


@pytest.mark.parametrize(("name", "rate"), [("qwen3-0.6b", 1.5e9), ("llama-3.1-8b", 2e9)])
def test_keys_that_heads_share_are_looked_at_sooner(tmp_path: Path, name: str, rate: float) -> None:
    facts = facts_of(name, tmp_path)
    steps = StepRates(
        decode_attention_flops_per_second=2e9, unshared_attention_flops_per_second=1.2e9
    )
    forecast = Forecast(facts, RUNTIME, with_steps(steps))
    more = seconds(forecast.token_seconds(2_000)) - seconds(forecast.token_seconds(1_000))
    attention = facts.hyperparameters.attention
    operations = 2 * sum(attention.heads_per_layer) * 2 * 128 * 1_000
    assert more == pytest.approx(operations / rate)


RECORDED_RATES = {
    "F32": Throughput(14.46e9, None),
    "F16": Throughput(9.22e9, 82e9),
    "Q8_0": Throughput(7.62e9, 74e9),
    "Q6_K": Throughput(7.04e9, 182e9),
    "Q4_K": Throughput(6.59e9, 125e9),
}
RECORDED_STEPS = StepRates(
    operation_seconds=1.2e-7,
    element_bytes_per_second=14.3e9,
    decode_attention_flops_per_second=7.65e9,
    unshared_attention_flops_per_second=4.2e9,
    prompt_attention_flops_per_second=48.8e9,
)
"""One thread of a Xeon with AVX512, by the thread's own clock, next to the times below."""


@pytest.mark.parametrize(
    ("quantization", "early_ms", "late_ms", "prompt_ms"),
    [
        ("Q4_K_M", 58.6, 82.1, 4_653),
        ("Q8_0", 94.2, 105.1, 7_403),
        ("F16", 136.5, 146.9, 7_062),
    ],
)
def test_what_a_real_machine_took_is_predicted(
    tmp_path: Path, quantization: str, early_ms: float, late_ms: float, prompt_ms: float
) -> None:
    made = machine()
    made = replace(made, ram=replace(made.ram, rates=RECORDED_RATES, steps=RECORDED_STEPS))
    facts = facts_of("qwen3-0.6b", tmp_path, quantization)
    forecast = Forecast(facts, Runtime(2_048, 1, gpu_layers=0), made)
    assert seconds(forecast.token_seconds(25)) * 1e3 == pytest.approx(early_ms, rel=0.2)
    assert seconds(forecast.token_seconds(519)) * 1e3 == pytest.approx(late_ms, rel=0.2)
    assert seconds(forecast.prompt_seconds(513)) * 1e3 == pytest.approx(prompt_ms, rel=0.3)


def test_a_model_that_makes_vectors_is_as_fast_as_it_reads(tmp_path: Path) -> None:
    facts = facts_of("qwen3-0.6b", tmp_path)
    writing = predict(facts, RUNTIME, machine())
    reading = predict(facts, replace(RUNTIME, pooling="last"), machine())
    assert writing is not None
    assert reading is not None
    assert reading.prompt == writing.prompt
    assert reading.decode == pytest.approx(reading.prompt)
    assert reading.first_token_seconds is None
