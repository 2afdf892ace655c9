"""The shipped catalog: it is read as written, and its numbers fit together."""

from __future__ import annotations

import pytest

from localserve.catalog.entry import ModelTable, SamplingTable, ShapeTable
from localserve.catalog.filenames import BITS_PER_WEIGHT, files_by_quantization
from localserve.catalog.locate import find_model
from localserve.catalog.registry import BUILTIN_NAME, SHIPPED_FILE, shipped_registry
from localserve.catalog.spec import HubFile, LocalFile, ModelSpec
from localserve.config import SETTINGS, read_settings

SPECS = tuple(shipped_registry())


def _id(spec: ModelSpec) -> str:
    return spec.name


def test_the_built_in_model_comes_first_and_answers_briefly() -> None:
    builtin = SPECS[0]
    assert builtin.name == BUILTIN_NAME
    assert isinstance(builtin.source, LocalFile)
    assert builtin.source.path.parent == SHIPPED_FILE.parent
    assert builtin.sampling.temperature == 0
    assert builtin.max_tokens == 512


@pytest.mark.skipif(
    not SHIPPED_FILE.with_name("builtin.gguf").exists(), reason="the built-in model is not made yet"
)
def test_with_nothing_asked_for_the_built_in_model_is_found() -> None:
    assert find_model(None, shipped_registry(), read_settings(environ={})).name == BUILTIN_NAME


def test_the_families_that_people_ask_for_are_there_by_their_usual_names() -> None:
    usual = (
        "qwen3:8b qwen3-coder qwen2.5-coder:7b llama3.2 llama3.1:8b llama3.3 gemma3:4b mistral"
        " devstral gpt-oss:20b phi4 granite4 smollm3 deepseek-r1:7b nomic-embed-text bge-m3"
    )
    assert [name for name in usual.split() if shipped_registry().find(name) is None] == []


@pytest.mark.parametrize("spec", SPECS[1:], ids=_id)
def test_a_hub_model_has_sizes_and_its_pattern_picks_one_file_for_each(spec: ModelSpec) -> None:
    assert isinstance(spec.source, HubFile)
    assert spec.source.pattern is not None
    assert spec.quantizations
    assert spec.quantizations.keys() <= BITS_PER_WEIGHT.keys()
    pattern = spec.source.pattern.replace("?", "-")
    names = [pattern.replace("{quantization}", name) for name in spec.quantizations]
    found = files_by_quantization(spec.source, [*names, "other-Q4_K_M.gguf", f"x{names[0]}"])
    assert found == {name: (file,) for name, file in zip(spec.quantizations, names, strict=True)}


@pytest.mark.parametrize("spec", [spec for spec in SPECS if spec.shape], ids=_id)
def test_sizes_fit_the_number_of_parameters(spec: ModelSpec) -> None:
    shape = spec.shape
    assert shape is not None
    assert shape.active_parameters <= shape.parameters
    assert shape.heads % shape.kv_heads == 0
    assert shape.vocabulary * shape.embedding_length < shape.parameters
    for name, size_bytes in spec.quantizations.items():
        ratio = size_bytes * 8 / shape.parameters / BITS_PER_WEIGHT[name]
        # Small models keep their vocabulary, half of all weights, at more bits.
        assert 0.9 < ratio < (1.6 if shape.parameters < 2e9 else 1.1), f"{name}: {ratio:.2f}"


def test_the_head_of_the_file_explains_every_key() -> None:
    lines = SHIPPED_FILE.read_text("utf-8").splitlines()
    comments = "\n".join(line for line in lines if line.startswith("#"))
    keys = [
        name for table in (ModelTable, SamplingTable, ShapeTable) for name in table.model_fields
    ]
    keys += [setting.name for setting in SETTINGS if setting.in_file]
    assert [key for key in keys if key not in comments] == []
