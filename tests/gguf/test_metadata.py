"""Values are read by the type that is wanted; another one is an error that names the key."""

from __future__ import annotations

import struct

import pytest

from localserve.errors import ModelMalformed
from localserve.gguf.metadata import Metadata
from tests.gguf.raw import BOOL, F32, I32, STRING, U32, Raw, array, pair, parse_bytes, strings


@pytest.fixture
def metadata() -> Metadata:
    return parse_bytes(
        Raw(
            keys=[
                pair("text", STRING, "words"),
                pair("whole", U32, 3),
                pair("negative", I32, -1),
                pair("number", F32, 0.25),
                pair("flag", BOOL, True),
                strings("strings", ["a", "b"]),
                array("layers", U32, struct.pack("<3I", 4, 0, 2), 3),
                array("below", I32, struct.pack("<2i", 1, -1), 2),
                array("flags", BOOL, bytes([1, 0]), 2),
            ]
        ).build()
    ).metadata


def test_each_type_is_read_as_itself(metadata: Metadata) -> None:
    assert metadata.text("text") == "words"
    assert metadata.integer("whole") == 3
    assert metadata.number("number") == 0.25
    assert metadata.number("whole") == 3.0
    assert metadata.flag("flag") is True
    assert metadata.numbers("flags") == (True, False)


def test_a_key_that_is_not_there_is_none(metadata: Metadata) -> None:
    assert metadata.text("no") is metadata.integer("no") is metadata.number("no") is None
    assert metadata.flag("no") is metadata.array("no") is metadata.numbers("no") is None
    assert metadata.per_layer("no", 3) is None
    assert list(metadata.byte_strings("no")) == []


@pytest.mark.parametrize(
    ("getter", "name", "wanted"),
    [
        ("text", "whole", "a string; it is 3"),
        ("integer", "text", "a whole number, 0 or more; it is 'words'"),
        ("integer", "negative", "a whole number, 0 or more; it is -1"),
        ("integer", "flag", "a whole number, 0 or more; it is True"),
        ("integer", "number", "a whole number, 0 or more; it is 0.25"),
        ("number", "flag", "a number; it is True"),
        ("flag", "whole", "true or false; it is 3"),
        ("array", "whole", "an array; it is 3"),
        ("text", "strings", "a string; it is an array of 2 STRING"),
        ("numbers", "strings", "an array of numbers; it is an array of 2 STRING"),
    ],
)
def test_another_type_is_refused_with_the_key(
    metadata: Metadata, getter: str, name: str, wanted: str
) -> None:
    with pytest.raises(ModelMalformed) as caught:
        getattr(metadata, getter)(name)
    assert caught.value.message == f"made.gguf: the value of {name} must be {wanted}."


def test_strings_are_not_read_from_numbers(metadata: Metadata) -> None:
    with pytest.raises(ModelMalformed, match="an array of strings"):
        list(metadata.byte_strings("layers"))


def test_a_value_per_layer_is_written_once_or_for_each(metadata: Metadata) -> None:
    assert metadata.per_layer("whole", 3) == (3, 3, 3)
    assert metadata.per_layer("layers", 3) == (4, 0, 2)
    assert metadata.per_layer("flags", 2) == (1, 0)
    with pytest.raises(ModelMalformed, match="layers has 3 elements for 4 layers"):
        metadata.per_layer("layers", 4)
    with pytest.raises(ModelMalformed, match="below must be an array of whole numbers"):
        metadata.per_layer("below", 2)
