"""The keys and values of a GGUF header, read by the type that is wanted.

Large arrays (a vocabulary has hundreds of thousands of words) stay where they are in the header and
are read when asked for. Knows no key's meaning. Any thread.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from localserve.errors import ModelMalformed


class ValueType(IntEnum):
    """The type of a value, by its number in the file. Source: `enum gguf_type` in gguf.h."""

    UINT8 = 0
    INT8 = 1
    UINT16 = 2
    INT16 = 3
    UINT32 = 4
    INT32 = 5
    FLOAT32 = 6
    BOOL = 7
    STRING = 8
    ARRAY = 9
    UINT64 = 10
    INT64 = 11
    FLOAT64 = 12


FORMS: Final[Mapping[ValueType, struct.Struct]] = {
    ValueType.UINT8: struct.Struct("<B"),
    ValueType.INT8: struct.Struct("<b"),
    ValueType.UINT16: struct.Struct("<H"),
    ValueType.INT16: struct.Struct("<h"),
    ValueType.UINT32: struct.Struct("<I"),
    ValueType.INT32: struct.Struct("<i"),
    ValueType.FLOAT32: struct.Struct("<f"),
    ValueType.BOOL: struct.Struct("<?"),
    ValueType.UINT64: struct.Struct("<Q"),
    ValueType.INT64: struct.Struct("<q"),
    ValueType.FLOAT64: struct.Struct("<d"),
}
"""How numbers are written; strings are a UINT64 length and that many bytes."""

_LENGTH: Final = FORMS[ValueType.UINT64]

Scalar = bool | int | float | str


@dataclass(frozen=True, slots=True)
class Array:
    """An array's extent: `length` elements in the header's bytes from `start` to `end`."""

    element: ValueType
    length: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Metadata(Mapping[str, Scalar | Array]):
    """All keys in the file's order. `raw` are the header's bytes, which arrays point into.

    The getters give None for a key that is not there and raise ModelMalformed, which names file,
    key and value, for one of another type.
    """

    name: str
    values_by_key: Mapping[str, Scalar | Array]
    raw: bytes

    def __getitem__(self, key: str) -> Scalar | Array:
        return self.values_by_key[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.values_by_key)

    def __len__(self) -> int:
        return len(self.values_by_key)

    def text(self, key: str) -> str | None:
        """A string."""
        value = self.get(key)
        if value is None or isinstance(value, str):
            return value
        raise self._wrong(key, "a string")

    def integer(self, key: str) -> int | None:
        """A whole number that is not negative, of any width."""
        value = self.get(key)
        if value is None:
            return None
        if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
            return value
        raise self._wrong(key, "a whole number, 0 or more")

    def number(self, key: str) -> float | None:
        """A number."""
        value = self.get(key)
        if value is None:
            return None
        if isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
        raise self._wrong(key, "a number")

    def flag(self, key: str) -> bool | None:
        """True or false."""
        value = self.get(key)
        if value is None or isinstance(value, bool):
            return value
        raise self._wrong(key, "true or false")

    def array(self, key: str) -> Array | None:
        """The extent of an array."""
        value = self.get(key)
        if value is None or isinstance(value, Array):
            return value
        raise self._wrong(key, "an array")

    def numbers(self, key: str) -> tuple[int | float, ...] | None:
        """All elements of an array of numbers (true is 1)."""
        found = self.array(key)
        if found is None:
            return None
        if found.element is ValueType.STRING:
            raise self._wrong(key, "an array of numbers")
        code = FORMS[found.element].format.removeprefix("<")
        return struct.unpack_from(f"<{found.length}{code}", self.raw, found.start)

    def byte_strings(self, key: str) -> Iterator[bytes]:
        """The elements of an array of strings, one after the other; none where there is no key."""
        found = self.array(key)
        if found is None:
            return
        if found.element is not ValueType.STRING:
            raise self._wrong(key, "an array of strings")
        raw, position, unpack = self.raw, found.start, _LENGTH.unpack_from
        for _ in range(found.length):
            start = position + 8
            (length,) = unpack(raw, position)
            position = start + length
            yield raw[start:position]

    def per_layer(self, key: str, layers: int) -> tuple[int, ...] | None:
        """A whole number per layer: written once for all of them, or as an array of that length."""
        value = self.get(key)
        if value is None:
            return None
        if not isinstance(value, Array):
            # written as a flag by some converters: 1 means every layer
            single = int(value) if isinstance(value, bool) else self.integer(key)
            return (single or 0,) * layers
        if value.length != layers:
            raise ModelMalformed(
                f"{self.name}: the array {key} has {value.length} elements for {layers} layers.",
                hint="Use another conversion of the model.",
            )
        found = self.numbers(key) or ()
        whole = tuple(number for number in found if isinstance(number, int) and number >= 0)
        if len(whole) < layers:
            raise self._wrong(key, "an array of whole numbers, 0 or more")
        return tuple(map(int, whole))

    def _wrong(self, key: str, wanted: str) -> ModelMalformed:
        value = self[key]
        if isinstance(value, Array):
            found = f"an array of {value.length} {value.element.name}"
        else:
            found = ascii(value)[:80]
        return ModelMalformed(
            f"{self.name}: the value of {key} must be {wanted}; it is {found}.",
            hint="Use another conversion of the model.",
        )
