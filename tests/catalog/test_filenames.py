"""What the names of GGUF files say."""

from __future__ import annotations

import pytest

from localserve.catalog.filenames import (
    BITS_PER_WEIGHT,
    MAX_SHARDS,
    by_preference,
    files_by_quantization,
    is_model_file,
    quantization_of,
    shard_names,
    shard_of,
    without_shard,
)
from localserve.catalog.spec import HubFile


@pytest.mark.parametrize(
    ("filename", "quantization"),
    [
        ("Qwen3-8B-Q4_K_M.gguf", "Q4_K_M"),
        ("qwen2.5-coder-7b-instruct-q4_k_m.gguf", "Q4_K_M"),
        ("nomic-embed-text-v1.5.f16.gguf", "F16"),
        ("bge-m3-FP16.gguf", "F16"),
        ("gpt-oss-120b-mxfp4-00001-of-00003.gguf", "MXFP4"),
        ("Q8_0/GLM-Q8_0-00001-of-00003.gguf", "Q8_0"),
        ("Llama-Q4_0_4_4.gguf", None),
        ("Qwen3-8B-UD-Q4_K_XL.gguf", "Q4_K_XL"),
        ("UD-IQ1_S/R1-UD-IQ1_S-00001-of-00003.gguf", "IQ1_S"),
        ("Qwen3-8B-Q2_K_LARGE.gguf", None),
        ("model.gguf", None),
        ("xQ4_K_M.gguf", None),
    ],
)
def test_the_quantization_is_read_from_the_name(filename: str, quantization: str | None) -> None:
    assert quantization_of(filename) == quantization


def test_every_known_quantization_is_found_in_a_name() -> None:
    assert [quantization_of(f"a-{name}.gguf") for name in BITS_PER_WEIGHT] == list(BITS_PER_WEIGHT)


def test_the_default_quantization_comes_first_and_the_nearest_in_size_follow() -> None:
    names = ["Q8_0", "Q4_0", "Q4_K_M", "Q5_K_M", "strange"]
    assert by_preference(names) == ["Q4_K_M", "Q4_0", "Q5_K_M", "Q8_0", "strange"]
    assert by_preference(["Q8_0", "F16"])[0] == "Q8_0"
    assert by_preference(names, "q8_0")[0] == "Q8_0"


def test_shards_are_numbered_from_the_name_of_any_of_them() -> None:
    assert shard_of("m-00002-of-00003.gguf") == (2, 3)
    assert shard_of("m.gguf") is None
    for wrong in ("m-00001-of-00000.gguf", "m-00004-of-00003.gguf", "m-00000-of-00002.gguf"):
        assert shard_of(wrong) is None
        assert shard_names(wrong) == (wrong,)
        assert without_shard(wrong) == wrong
    assert without_shard("m-00002-of-00003.gguf") == "m.gguf"
    assert shard_names("m.gguf") == ("m.gguf",)
    assert shard_names("m-00002-of-00003.gguf") == (
        "m-00001-of-00003.gguf",
        "m-00002-of-00003.gguf",
        "m-00003-of-00003.gguf",
    )


def test_projectors_and_other_files_are_no_models() -> None:
    assert is_model_file("sub/model.GGUF")
    assert not is_model_file("mmproj-model-f16.gguf")
    assert not is_model_file("sub/imatrix.gguf")
    assert not is_model_file("README.md")


def test_a_pattern_tells_two_models_of_one_repository_apart() -> None:
    files = ["Qwen3-8B-128K-Q4_K_M.gguf", "Qwen3-8B-Q4_K_M.gguf", "Qwen3-8B-fp16.gguf"]
    source = HubFile("a/b", "Qwen3-8B-{quantization}.gguf")
    assert files_by_quantization(source, files) == {
        "F16": ("Qwen3-8B-fp16.gguf",),
        "Q4_K_M": ("Qwen3-8B-Q4_K_M.gguf",),
    }


def test_a_pattern_may_be_a_files_name_whatever_it_calls_its_quantization() -> None:
    files = ["bge-m3-FP16.gguf", "bge-m3-Q8_0.gguf"]
    found = files_by_quantization(HubFile("a/b", "bge-m3-FP16.gguf"), files)
    assert found == {"F16": ("bge-m3-FP16.gguf",)}


def test_all_shards_of_a_split_model_are_listed_even_those_that_are_not_there() -> None:
    found = files_by_quantization(HubFile("a/b"), ["d/m-Q8_0-00002-of-00002.gguf", "mmproj.gguf"])
    assert found == {"Q8_0": ("d/m-Q8_0-00001-of-00002.gguf", "d/m-Q8_0-00002-of-00002.gguf")}


def test_a_file_without_a_quantization_counts_only_where_it_is_alone() -> None:
    source = HubFile("a/b")
    assert files_by_quantization(source, ["m.gguf", "x.txt"]) == {"": ("m.gguf",)}
    assert files_by_quantization(source, ["m.gguf", "n.gguf"]) == {}
    assert files_by_quantization(source, ["m.gguf", "m-Q8_0.gguf"]) == {"Q8_0": ("m-Q8_0.gguf",)}


def test_a_file_in_the_root_goes_before_those_in_folders() -> None:
    files = ["MTP/m-Q8_0.gguf", "m-Q8_0.gguf", "a/b/m-Q4_0.gguf", "z/m-Q4_0.gguf"]
    assert files_by_quantization(HubFile("a/b"), files) == {
        "Q8_0": ("m-Q8_0.gguf",),
        "Q4_0": ("z/m-Q4_0.gguf",),
    }


def test_a_name_that_tells_of_many_shards_makes_no_more_names_than_show_that() -> None:
    assert len(shard_names("m-00002-of-00512.gguf")) == MAX_SHARDS
    names = shard_names("m-00002-of-99999.gguf")
    assert len(names) == MAX_SHARDS + 1
    assert names[:2] == ("m-00001-of-99999.gguf", "m-00002-of-99999.gguf")
    found = files_by_quantization(HubFile("a/b"), ["m-Q8_0-00001-of-99999.gguf"])
    assert len(found["Q8_0"]) == MAX_SHARDS + 1
