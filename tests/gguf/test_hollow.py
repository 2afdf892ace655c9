"""Files with a header and holes: the right size, the right names, next to nothing on the disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from localserve.errors import ModelUnusable
from localserve.gguf.header import parse_file
from localserve.gguf.hollow import write_hollow
from tests.gguf.raw import STRING, Raw, pair, parse_bytes, tensor
from tests.gguf.small_models import SMALL_MODELS, write_small_model


def test_a_hollow_file_has_the_header_and_the_size_of_the_real_one(tmp_path: Path) -> None:
    keys = [pair("general.architecture", STRING, "llama")]
    huge = Raw(keys=keys, tensors=[tensor("t", (1 << 20, 1 << 10))], data_bytes=0).build()
    header = parse_bytes(huge, size=len(huge) + (4 << 30))
    path = write_hollow([header], tmp_path)
    assert path.stat().st_size == header.size_bytes
    assert path.stat().st_blocks * 512 <= len(header.raw) + 8192
    assert parse_file(path).tensors == header.tensors
    assert parse_file(path).metadata.raw == header.raw


def test_shards_get_the_names_that_llama_cpp_looks_for(tmp_path: Path) -> None:
    first = write_small_model(tmp_path / "part.gguf", SMALL_MODELS["llama"], shards=2)
    headers = [parse_file(path) for path in sorted(first.parent.glob("part-*"))]
    folder = tmp_path / "hollow"
    folder.mkdir()
    assert write_hollow(headers, folder) == folder / "hollow-00001-of-00002.gguf"
    assert sorted(path.name for path in folder.iterdir()) == [
        "hollow-00001-of-00002.gguf",
        "hollow-00002-of-00002.gguf",
    ]


def test_a_folder_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    header = parse_bytes(Raw().build())
    with pytest.raises(ModelUnusable, match="cannot be written"):
        write_hollow([header], tmp_path / "none")
