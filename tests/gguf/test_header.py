"""Headers as files have them, and all the ways in which they may be wrong."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from localserve.errors import ModelMalformed, ModelUnusable
from localserve.gguf.header import parse, parse_file
from localserve.gguf.metadata import Array, ValueType
from localserve.gguf.reader import FIRST_FETCH_BYTES, MAX_HEADER_BYTES
from tests.gguf.raw import (
    ARRAY,
    BOOL,
    F32,
    I32,
    STRING,
    U8,
    U32,
    Raw,
    array,
    key,
    pair,
    parse_bytes,
    strings,
    tensor,
)
from tests.gguf.small_models import SMALL_MODELS, write_small_model

ARCHITECTURE = pair("general.architecture", STRING, "llama")


def refusal(content: bytes, *, size: int | None = -1) -> str:
    with pytest.raises(ModelMalformed) as caught:
        parse_bytes(content, size=size)
    message = caught.value.message
    assert message.startswith("made.gguf: ")
    assert "\n" not in message
    assert caught.value.hint
    return message


def test_a_header_says_keys_tensors_and_where_data_begins() -> None:
    content = Raw(
        keys=[
            ARCHITECTURE,
            pair("a.int", U32, 7),
            pair("a.float", F32, 0.5),
            pair("a.flag", BOOL, True),
            pair("a.signed", I32, -3),
            strings("a.words", ["one", "zwei"]),
            array("a.numbers", U8, bytes([1, 2, 3]), 3),
        ],
        tensors=[tensor("first", (32, 3), 8, 0), tensor("second", (5,), 0, 128)],
        data_bytes=148,
    ).build()
    header = parse_bytes(content)
    assert (header.version, header.alignment, header.size_bytes) == (3, 32, len(content))
    assert header.data_offset == len(content) - 148
    assert header.raw == content[: header.data_offset]
    metadata = header.metadata
    assert dict(metadata) == {
        "general.architecture": "llama",
        "a.int": 7,
        "a.float": 0.5,
        "a.flag": True,
        "a.signed": -3,
        "a.words": metadata.array("a.words"),
        "a.numbers": Array(
            ValueType.UINT8, 3, metadata.array("a.numbers").start, metadata.array("a.numbers").end
        ),  # type: ignore[union-attr]
    }
    assert list(metadata.byte_strings("a.words")) == [b"one", b"zwei"]
    assert metadata.numbers("a.numbers") == (1, 2, 3)
    first, second = header.tensors
    assert (first.name, first.shape, first.type.name) == ("first", (32, 3), "Q8_0")
    assert (first.elements, first.size_bytes) == (96, 102)
    assert (second.offset, second.size_bytes) == (128, 20)


def test_version_2_is_read_as_well() -> None:
    assert parse_bytes(Raw(version=2).build()).version == 2


def test_a_file_without_tensors_is_read() -> None:
    assert parse_bytes(Raw(tensors=[], data_bytes=0).build()).tensors == ()


def test_a_scalar_tensor_has_one_element() -> None:
    header = parse_bytes(Raw(tensors=[tensor("scale", ())], data_bytes=4).build())
    assert header.tensors[0].elements == 1


def test_a_file_of_unknown_size_ends_with_its_last_tensor() -> None:
    content = Raw().build()
    assert parse_bytes(content, size=None).size_bytes == len(content)


def test_another_alignment_moves_the_data() -> None:
    raw = Raw(keys=[ARCHITECTURE, pair("general.alignment", U32, 256)], alignment=256)
    assert parse_bytes(raw.build()).data_offset == 256


def test_a_file_made_by_the_gguf_package_agrees_with_it(tmp_path: Path) -> None:
    from gguf import GGUFReader

    path = write_small_model(tmp_path / "model.gguf", SMALL_MODELS["deepseek2"])
    header, theirs = parse_file(path), GGUFReader(path)
    assert header.data_offset == theirs.data_offset
    assert {t.name: (t.shape, t.size_bytes) for t in header.tensors} == {
        t.name: (tuple(map(int, t.shape)), int(t.n_bytes)) for t in theirs.tensors
    }
    assert set(header.metadata) == {k for k in theirs.fields if not k.startswith("GGUF.")}
    words = theirs.fields["tokenizer.ggml.tokens"].contents()
    assert [w.decode() for w in header.metadata.byte_strings("tokenizer.ggml.tokens")] == words


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (Raw(magic=b"PK\x03\x04"), "begins with b'PK"),
        (Raw(magic=b"FUGG"), "begins with b'FUGG'"),
        (Raw(version=1), "version 1 of GGUF"),
        (Raw(version=0), "version 0 of GGUF"),
        (Raw(version=4), "version 4 of GGUF"),
        (Raw(version=3 << 24), "big-endian"),
        (Raw(key_count=2**63), "9223372036854775808 keys; at most 65536"),
        (Raw(tensor_count=2**64 - 1), "18446744073709551615 tensors"),
        (Raw(key_count=60_000), "60000 keys, which take at least"),
        (Raw(tensor_count=100_000), "100000 tensors, which take at least"),
        (Raw(keys=[key(b"", U32, bytes(4))]), "name of key 0 has 0 bytes"),
        (Raw(keys=[key(b"k" * 70_000, U32, bytes(4))]), "has 70000 bytes"),
        (Raw(keys=[key(b"\xff\xfe", U32, bytes(4))]), "name of key 0 is not UTF-8"),
        (Raw(keys=[pair("a", U32, 1), pair("a", U32, 2)]), "the key a is there twice"),
        (Raw(keys=[key("a", 13, bytes(4))]), "unknown type 13"),
        (Raw(keys=[key("a", BOOL, b"\x02")]), "neither 0 nor 1 but 2"),
        (Raw(keys=[pair("a", STRING, b"ab\xffc")]), "not UTF-8: byte 2 of 4 is 0xff"),
        (Raw(keys=[key("a", STRING, struct.pack("<Q", 2**40))]), "has 1099511627776 bytes"),
        (Raw(keys=[array("a", ARRAY, bytes(12), 1)]), "array of arrays"),
        (Raw(keys=[array("a", 99, b"", 1)]), "unknown type 99"),
        (Raw(keys=[array("a", U32, b"", 2**62)]), "4611686018427387904 elements"),
        (Raw(keys=[array("a", STRING, b"", 2**61)]), "2305843009213693952 elements"),
        (
            Raw(keys=[array("a", STRING, struct.pack("<Q", 2**63), 1)]),
            "element 0 of a has 9223372036854775808 bytes",
        ),
        (Raw(keys=[pair("general.alignment", U32, 0)]), "general.alignment is 0"),
        (Raw(keys=[pair("general.alignment", U32, 24)]), "general.alignment is 24"),
        (Raw(keys=[pair("general.alignment", U32, 1 << 31)]), "general.alignment is 2147483648"),
        (Raw(keys=[pair("general.alignment", STRING, "32")]), "must be a whole number"),
        (Raw(tensors=[tensor(b"", (8,))]), "name of tensor 0 has 0 bytes"),
        (Raw(tensors=[tensor("t" * 64, (8,))]), "has 64 bytes; from 1 to 63"),
        (Raw(tensors=[tensor(b"\xc3", (8,))]), "name of tensor 0 is not UTF-8"),
        (Raw(tensors=[tensor("a", (8,)), tensor("a", (8,), 0, 32)]), "tensor a is there twice"),
        (Raw(tensors=[tensor("a", (1,) * 5)]), "has 5 dimensions"),
        (Raw(tensors=[tensor("a", (8,), dims=2**32 - 1)]), "has 4294967295 dimensions"),
        (Raw(tensors=[tensor("a", (8, 0))]), "impossible shape 8 x 0"),
        (Raw(tensors=[tensor("a", (2**64 - 8, 4))]), "impossible shape"),
        (Raw(tensors=[tensor("a", (2**32, 2**32))]), "impossible shape 4294967296 x 4294967296"),
        (Raw(tensors=[tensor("a", (2**62,))]), "takes 18446744073709551616 bytes"),
        (Raw(tensors=[tensor("a", (8,), 43)]), "unknown type 43; this llama.cpp knows types up to"),
        (Raw(tensors=[tensor("a", (32,), 31)]), "stored as Q4_0_4_4, which llama.cpp no longer"),
        (Raw(tensors=[tensor("a", (31, 2), 2)]), "rows of 31 weights, not a multiple of the 32"),
        (Raw(tensors=[tensor("a", (8,), 0, 16)]), "misaligned: its offset 16"),
        (Raw(tensors=[tensor("a", (8,), 0, 32)]), "leaves a gap: its offset is 32, and 0"),
        (
            Raw(tensors=[tensor("a", (64,)), tensor("b", (8,), 0, 32)], data_bytes=512),
            "b overlaps the one before it: its offset is 32, and 256",
        ),
        (Raw(tensors=[tensor("a", (8,), 0, 2**64 - 32)]), "leaves a gap"),
    ],
)
def test_a_malformed_header_is_refused_in_one_line_with_numbers(raw: Raw, words: str) -> None:
    assert words in refusal(raw.build())


def test_a_cut_file_says_how_many_bytes_are_missing() -> None:
    content = Raw(tensors=[tensor("a", (8,)), tensor("b", (64,), 0, 32)], data_bytes=288).build()
    message = refusal(content[:-100])
    assert f"it has {len(content) - 100} of {len(content)} bytes, so 100 are missing" in message
    assert "b is the first tensor that is not whole" in message


@pytest.mark.parametrize("size_is_known", [True, False])
def test_a_file_cut_anywhere_in_its_header_is_refused(size_is_known: bool) -> None:
    content = Raw(keys=[ARCHITECTURE, strings("a.words", ["one", "two"])], data_bytes=0).build()
    for length in range(len(content)):
        cut = content[:length]
        assert refusal(cut, size=-1 if size_is_known else None)


def test_an_empty_file_is_said_to_be_empty() -> None:
    assert refusal(b"") == "made.gguf: the file is empty."


def test_names_with_line_breaks_do_not_break_the_line() -> None:
    message = refusal(Raw(tensors=[tensor("a\nb\x1b[31m", (0,))]).build())
    assert "a?b?[31m" in message


def test_a_header_without_end_is_given_up() -> None:
    endless = array("a", U8, b"", 2 * MAX_HEADER_BYTES)
    content = Raw(keys=[endless], tensors=[], data_bytes=0).build()

    def read(offset: int, length: int) -> bytes:
        assert offset + length <= MAX_HEADER_BYTES
        return (content[offset : offset + length] + bytes(length))[:length]

    with pytest.raises(ModelMalformed, match="elements of at least 1 bytes"):
        parse(read, None, "endless")


def test_large_headers_are_fetched_in_order_in_growing_pieces_and_no_data_is() -> None:
    words = [f"word-{number:06}" for number in range(150_000)]
    content = Raw(
        keys=[ARCHITECTURE, strings("tokenizer.ggml.tokens", words)], data_bytes=50_000_000
    ).build()
    asked: list[tuple[int, int]] = []

    def read(offset: int, length: int) -> bytes:
        asked.append((offset, length))
        return content[offset : offset + length]

    header = parse(read, len(content), "large")
    assert header.metadata.array("tokenizer.ggml.tokens").length == 150_000  # type: ignore[union-attr]
    assert asked == [(0, FIRST_FETCH_BYTES), (FIRST_FETCH_BYTES, 2 * FIRST_FETCH_BYTES)]
    assert list(header.metadata.byte_strings("tokenizer.ggml.tokens"))[-1] == b"word-149999"


def test_what_the_reader_raises_passes_through() -> None:
    def read(offset: int, length: int) -> bytes:
        raise ConnectionError("gone")

    with pytest.raises(ConnectionError, match="gone"):
        parse(read, 100, "remote")


def test_a_file_that_cannot_be_read_is_unusable(tmp_path: Path) -> None:
    with pytest.raises(ModelUnusable, match="cannot be read"):
        parse_file(tmp_path / "none.gguf")
    with pytest.raises(ModelUnusable, match="cannot be read"):
        parse_file(tmp_path)
