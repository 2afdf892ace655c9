"""Tokens per second: every active weight once, on the device where it lies."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from localserve.catalog.headers import read_local
from localserve.gguf.facts import GgufFacts
from localserve.planner.bandwidth import Throughput
from localserve.planner.runtime import Runtime
from localserve.planner.speed import Corrections, active_bytes, predict
from tests.planner.machines import machine
from tests.planner.real_shapes import SHAPES, write_header

RUNTIME = Runtime(8_192, 16)


def facts_of(name: str, folder: Path, quantization: str = "Q4_K_M") -> GgufFacts:
    return read_local(
        write_header(folder / f"{name}.gguf", SHAPES[name], quantization, words=False)
    ).facts


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
    assert speed.first_token_seconds == pytest.approx(1_024 / speed.prompt, rel=0.1)
    assert speed.prompt == pytest.approx(400e9 / (2 * facts.parameters), rel=0.15)


def test_of_a_mixture_only_the_experts_in_use_count(tmp_path: Path) -> None:
    facts = facts_of("qwen3-30b-a3b", tmp_path)
    (read,) = active_bytes(facts, RUNTIME, machine()).values()
    assert sum(weights for _, weights in read.values()) == pytest.approx(3.0e9, rel=0.05)


def test_devices_take_turns(tmp_path: Path) -> None:
    facts = facts_of("llama-3.1-8b", tmp_path)
    speeds = [
        predict(facts, replace(RUNTIME, gpu_layers=layers), machine(24)) for layers in (0, 16, None)
    ]
    rates = [speed.decode for speed in speeds if speed is not None]
    assert len(rates) == 3
    assert rates[0] < rates[1] < rates[2]
    halves = active_bytes(facts, replace(RUNTIME, gpu_layers=16), machine(24))
    assert halves.keys() == {"CPU", "GPU0"}


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


def test_a_model_that_makes_vectors_is_as_fast_as_it_reads(tmp_path: Path) -> None:
    facts = facts_of("qwen3-0.6b", tmp_path)
    writing = predict(facts, RUNTIME, machine())
    reading = predict(facts, replace(RUNTIME, pooling="last"), machine())
    assert writing is not None
    assert reading is not None
    assert reading.decode == reading.prompt == writing.prompt
    assert reading.first_token_seconds is None
