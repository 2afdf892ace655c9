"""What the beginning of a file says it is."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localserve.catalog.finders.peek import PEEKED_BYTES, Peeked, peek
from tests.catalog.gguf_files import Value, gguf_bytes, write_gguf

ROOT = Path(__file__).parent.parent.parent.parent


def test_a_model_tells_its_architecture(tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "a.gguf", {"general.architecture": "qwen3"})
    assert peek(path) == Peeked(True, "qwen3")


def test_the_built_in_model_is_one() -> None:
    found = peek(ROOT / "localserve" / "catalog" / "builtin.gguf")
    assert found.is_model
    assert found.architecture
    assert not found.problem


@pytest.mark.parametrize(
    "keys",
    [
        {"general.type": "adapter"},
        {"general.type": "mmproj"},
        {"general.type": "imatrix"},
        {"general.architecture": "clip"},
        {"x": 1, "y": [1, 2, 3], "general.type": "adapter"},
    ],
)
def test_what_is_no_model_says_so_among_its_first_keys(
    tmp_path: Path, keys: dict[str, Value]
) -> None:
    assert not peek(write_gguf(tmp_path / "a.gguf", keys)).is_model


def test_a_vocabulary_has_no_tensors_but_so_may_the_first_of_several_shards(tmp_path: Path) -> None:
    assert not peek(write_gguf(tmp_path / "vocab.gguf", tensors=0)).is_model
    assert peek(write_gguf(tmp_path / "m-00001-of-00002.gguf", tensors=0)).is_model


def test_keys_behind_an_array_of_strings_are_found_as_far_as_the_beginning_goes(
    tmp_path: Path,
) -> None:
    keys: dict[str, Value] = {"tokens": ["a", "b"], "general.type": "adapter"}
    assert not peek(write_gguf(tmp_path / "a.gguf", keys)).is_model
    keys = {"tokens": ["a" * 100] * PEEKED_BYTES, "general.type": "adapter"}
    assert peek(write_gguf(tmp_path / "b.gguf", keys)) == Peeked(True, "llama")


def test_a_model_that_makes_vectors_says_how(tmp_path: Path) -> None:
    keys: dict[str, Value] = {"general.tags": ["a"], "llama.pooling_type": 3}
    assert peek(write_gguf(tmp_path / "a.gguf", keys)).pooling == "last"
    for nonsense in (99, True):
        keys["llama.pooling_type"] = nonsense
        assert peek(write_gguf(tmp_path / "b.gguf", keys)).pooling is None


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "it is empty"),
        (b"GGUF", "the file is cut off"),
        (b"PK\x03\x04" * 10, "this is not a GGUF file"),
        (b"version https://git-lfs.github.com/spec/v1\n", "it is a pointer of git-lfs"),
        (gguf_bytes(version=1), "version 1 of GGUF"),
        (gguf_bytes(version=1 << 24), "the file is big-endian"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path: Path, content: bytes, problem: str) -> None:
    path = tmp_path / "a.gguf"
    path.write_bytes(content)
    assert peek(path).problem.startswith(problem)


def test_a_file_that_is_not_there_is_a_problem(tmp_path: Path) -> None:
    assert "No such file" in peek(tmp_path / "none.gguf").problem


@given(
    st.binary(max_size=200),
    st.integers(0, 2**64 - 1),
    st.integers(0, 300),
)
def test_no_bytes_make_it_fail(
    tmp_path_factory: pytest.TempPathFactory, tail: bytes, count: int, cut: int
) -> None:
    import struct

    path = tmp_path_factory.getbasetemp() / "any.gguf"
    path.write_bytes((b"GGUF" + struct.pack("<IQQ", 3, 1, count) + tail)[:cut])
    assert isinstance(peek(path), Peeked)


def test_only_the_beginning_is_read(tmp_path: Path) -> None:
    keys: dict[str, Value] = {"long": "x" * PEEKED_BYTES, "general.type": "adapter"}
    assert peek(write_gguf(tmp_path / "a.gguf", keys)).is_model
