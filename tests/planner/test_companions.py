"""Projectors and drafts: what they take, where they lie, and that plans keep room for them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from localserve.catalog.headers import read_local
from localserve.errors import ModelMalformed, ModelUnusable
from localserve.gguf.facts import GgufFacts
from localserve.gguf.metadata import Metadata
from localserve.gguf.tokenizer import TOKENS
from localserve.planner.companions import (
    Companion,
    draft_for,
    projector_compute_bytes,
    projector_of,
    runtime_of_draft,
    with_companions,
)
from localserve.planner.explain import explain
from localserve.planner.formula import estimate
from localserve.planner.gauge import by_formula
from localserve.planner.machine import Machine
from localserve.planner.plan import Plan, Wanted, make_plan
from localserve.planner.runtime import Runtime
from localserve.planner.usage import MemoryUsage, from_document
from tests.gguf.projectors import SmallProjector, write_projector
from tests.gguf.small_models import SMALL_MODELS, write_small_model
from tests.planner.machines import GIB, machine
from tests.planner.real_projectors import reserved_bytes
from tests.planner.real_shapes import SHAPES, write_header

SIGLIP = SmallProjector(256, 1_024, 4, 2, 448)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("companions")
    files = {
        name: write_header(folder / f"{name}.gguf", SHAPES[name], "Q4_K_M", words=False)
        for name in ("qwen3-8b", "qwen3-0.6b", "gemma-3-12b")
    }
    return files | {"mmproj": write_projector(folder / "mmproj.gguf", SIGLIP)}


@pytest.fixture(scope="module")
def facts(files: dict[str, Path]) -> dict[str, GgufFacts]:
    return {name: read_local(path).facts for name, path in files.items()}


@pytest.fixture
def companions(facts: dict[str, GgufFacts]) -> tuple[Companion, ...]:
    return projector_of(facts["mmproj"]), draft_of(facts)


def draft_of(facts: dict[str, GgufFacts]) -> Companion:
    return Companion("draft", facts["qwen3-0.6b"])


def planned(facts: GgufFacts, on: Machine, *beside: Companion, **wanted: object) -> Plan:
    wish = Wanted(companions=beside, **wanted)  # type: ignore[arg-type]
    return make_plan(facts, wish, on, by_formula(facts, on.gpu_names))


def test_the_estimate_of_a_projectors_buffers_is_near_what_llama_cpp_reserves(
    files: dict[str, Path], tmp_path: Path
) -> None:
    text = write_small_model(tmp_path / "text.gguf", SMALL_MODELS["gemma3"])
    real = reserved_bytes(text, files["mmproj"])
    thought = projector_compute_bytes(read_local(files["mmproj"]).facts)
    assert real > 0
    assert thought == pytest.approx(real, rel=0.1)


def test_a_projector_that_keeps_the_size_of_pictures_is_counted_with_large_ones(
    facts: dict[str, GgufFacts],
) -> None:
    projector = facts["mmproj"]
    values = dict(projector.metadata)
    fixed = projector_compute_bytes(projector)

    def with_keys(**more: int) -> int:
        keys = {f"clip.vision.{key}": value for key, value in more.items()}
        metadata = Metadata("mmproj", {**values, **keys}, b"")
        return projector_compute_bytes(projector_of(replace(projector, metadata=metadata)).facts)

    assert with_keys(spatial_merge_size=2) == fixed // 32**2 * (46 * 2) ** 2
    assert with_keys(image_max_pixels=1_000 * 14**2) == fixed // 32**2 * 1_000
    with pytest.raises(ModelMalformed, match="image_size"):
        with_keys(patch_size=0, image_size=-5)


def test_a_draft_takes_weights_and_cache_at_the_same_context(
    facts: dict[str, GgufFacts],
) -> None:
    runtime = Runtime(16_384, 4, cache_type_k="q8_0", cache_type_v="q8_0", gpu_layers=0)
    alone = estimate(facts["qwen3-0.6b"], runtime)
    (beside,) = with_companions(MemoryUsage((), 0), [draft_of(facts)], runtime, ()).beside
    assert beside.total_bytes == alone.total_bytes + alone.output_bytes
    assert beside.devices[0].cache_bytes == alone.cache_bytes > 0


def test_companions_lie_on_the_first_gpu_where_the_model_does(
    facts: dict[str, GgufFacts], companions: tuple[Companion, ...]
) -> None:
    with_gpu = planned(facts["qwen3-8b"], machine(12, 12), *companions)
    assert with_gpu.where == "GPU"
    assert with_gpu.usage.beside_on("GPU0") > with_gpu.usage.beside_on("CPU")
    assert with_gpu.usage.beside_on("GPU1") == 0
    in_ram = planned(facts["qwen3-8b"], machine(12), *companions, gpu_layers=0)
    assert in_ram.usage.beside_on("GPU0") == 0
    total = sum(in_ram.usage.beside_bytes(one.kind) for one in companions)
    assert in_ram.usage.beside_on("CPU") == total > 0


def test_the_plan_gives_way_for_companions(
    facts: dict[str, GgufFacts], companions: tuple[Companion, ...]
) -> None:
    model = facts["qwen3-8b"]
    alone = planned(model, machine(24))
    small = machine(alone.loads[0].needed_bytes / GIB + 0.1)
    assert planned(model, small).where == "GPU"
    together = planned(model, small, *companions)
    assert (together.fits, together.where) == (True, "GPU + RAM")
    beside = together.usage.beside_on("GPU0")
    assert together.loads[0].needed_bytes == together.usage.of("GPU0").total_bytes + beside
    tight = machine(ram_gib=(alone.usage.total_bytes + alone.usage.output_bytes) / GIB + 0.3)
    assert planned(model, tight).fits
    assert not planned(model, tight, *companions).fits


def test_two_gpus_share_layers_by_what_the_draft_leaves(
    facts: dict[str, GgufFacts], companions: tuple[Companion, ...]
) -> None:
    split = planned(facts["qwen3-8b"], machine(5, 5), *companions).runtime.tensor_split
    even = planned(facts["qwen3-8b"], machine(5, 5)).runtime.tensor_split
    assert abs(even[0] - even[1]) <= 1
    assert split[0] < split[1]


def test_the_explanation_names_them(
    facts: dict[str, GgufFacts], companions: tuple[Companion, ...]
) -> None:
    on = machine(ram_gib=4)
    plan = planned(facts["qwen3-8b"], on, *companions)
    why = explain(plan, on, by_formula(facts["qwen3-8b"], ()))
    terms = {term.kind: term.size_bytes for term in why.terms}
    assert terms["draft"] == plan.usage.beside_bytes("draft") > 0
    assert terms["mmproj"] == plan.usage.beside_bytes("mmproj") > 0
    parts = ("weights", "cache", "compute", "draft", "mmproj", "output", "process")
    assert sum(terms[part] for part in parts) == plan.tightest.needed_bytes
    assert "other" not in terms


def test_usage_with_companions_survives_json(
    facts: dict[str, GgufFacts], companions: tuple[Companion, ...]
) -> None:
    usage = planned(facts["qwen3-8b"], machine(12), *companions).usage
    assert from_document(usage.as_document()) == usage


def test_what_is_no_projector_or_knows_other_words_is_refused(
    facts: dict[str, GgufFacts],
) -> None:
    with pytest.raises(ModelUnusable, match="not a projector"):
        projector_of(facts["qwen3-0.6b"])
    with pytest.raises(ModelUnusable, match="projector"):
        draft_for(facts["mmproj"], facts["qwen3-8b"])


def test_a_draft_of_another_family_is_refused(tmp_path: Path) -> None:
    one = read_local(write_small_model(tmp_path / "a.gguf", SMALL_MODELS["qwen3"])).facts
    assert draft_for(one, one).kind == "draft"
    tokenizer = replace(one.tokenizer, model="llama")
    with pytest.raises(ModelUnusable, match="vocabularies differ: they are of the kinds 'gpt2'"):
        draft_for(one, replace(one, tokenizer=tokenizer))


def test_a_draft_that_knows_other_words_is_refused_with_the_first_of_them(tmp_path: Path) -> None:
    path = write_small_model(tmp_path / "a.gguf", SMALL_MODELS["qwen3"])
    one = read_local(path).facts
    words = list(one.metadata.byte_strings(TOKENS))
    other = other_word(path, words[300])
    told = f"token 300 is {words[300].decode()!r} and {other.decode()!r}"
    theirs = read_local(path).facts
    sizes = f"{path} ({len(words)} tokens) cannot guess for {path} ({len(words)} tokens)"
    with pytest.raises(ModelUnusable) as refused:
        draft_for(one, theirs)
    assert sizes in refused.value.message
    assert told in refused.value.message
    assert "same family" in (refused.value.hint or "")


def other_word(path: Path, word: bytes) -> bytes:
    """Change a word of the vocabulary where it lies in the file; what it reads then."""
    data = path.read_bytes()
    framed = len(word).to_bytes(8, "little") + word
    assert data.count(framed) == 1
    changed = word[:-1] + b"~"
    path.write_bytes(data.replace(framed, framed[:8] + changed))
    return changed


def test_the_first_few_tokens_of_two_vocabularies_may_differ(tmp_path: Path) -> None:
    path = write_small_model(tmp_path / "a.gguf", SMALL_MODELS["qwen3"])
    one = read_local(path).facts
    first = next(one.metadata.byte_strings(TOKENS))
    data = path.read_bytes()
    at = data.index(TOKENS.encode()) + len(TOKENS) + 4 + 4 + 8 + 8
    assert data[at : at + len(first)] == first
    path.write_bytes(data[:at] + b"\x7f" * len(first) + data[at + len(first) :])
    assert draft_for(one, read_local(path).facts).kind == "draft"


def test_a_vocabulary_of_another_size_is_refused(
    facts: dict[str, GgufFacts], tmp_path: Path
) -> None:
    small = read_local(write_small_model(tmp_path / "a.gguf", SMALL_MODELS["qwen3"])).facts
    with pytest.raises(ModelUnusable, match=r"a\.gguf \(\d+ tokens\) .* \(151936 tokens\)"):
        draft_for(small, facts["qwen3-8b"])


def test_models_that_cannot_be_cut_neither_guess_nor_are_guessed_for(tmp_path: Path) -> None:
    plain, windows = (
        read_local(write_small_model(tmp_path / f"{name}.gguf", SMALL_MODELS[name])).facts
        for name in ("qwen3", "mamba")
    )
    alike = replace(windows, tokenizer=plain.tokenizer)
    for draft, model in ((alike, plain), (plain, alike)):
        with pytest.raises(
            ModelUnusable, match=r"what \S+mamba\.gguf \(mamba\) has computed cannot"
        ):
            draft_for(draft, model)


@pytest.mark.parametrize("layers", [0, 10, None])
def test_a_draft_is_run_as_its_room_is_planned(layers: int | None) -> None:
    runtime = Runtime(4_096, 8, "q8_0", "q4_0", layers, 3, (1.0, 2.0), guess_tokens=63)
    draft = runtime_of_draft(runtime)
    whole = replace(runtime, cpu_expert_layers=0, guess_tokens=0)
    assert draft == (
        replace(whole, gpu_layers=0, tensor_split=())
        if layers == 0
        else replace(whole, gpu_layers=None, tensor_split=(1.0,))
    )
