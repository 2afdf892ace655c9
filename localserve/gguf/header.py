"""Reads the header of a GGUF file: keys, values and where each tensor lies. Never tensor data.

The file is untrusted. Whatever llama.cpp would refuse or die of in a header's form is refused here
with one line; every count and length is checked against the bytes that are there before anything is
made of it. Knows nothing of what keys mean and of where the bytes come from. Any thread.
Source: docs/gguf.md of ggml, and ggml's gguf.cpp where it is stricter.
"""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from localserve.errors import ModelMalformed, ModelUnusable
from localserve.gguf.metadata import FORMS, Array, Metadata, Scalar, ValueType
from localserve.gguf.reader import Read, Walk
from localserve.gguf.types import REMOVED_TYPES, TENSOR_TYPES, TensorType

MAGIC: Final = b"GGUF"
VERSIONS: Final = (2, 3)
DEFAULT_ALIGNMENT: Final = 32
MAX_KEYS: Final = 1 << 16
MAX_TENSORS: Final = 1 << 17
MAX_DIMENSIONS: Final = 4
MAX_KEY_BYTES: Final = 65_535
MAX_TENSOR_NAME_BYTES: Final = 63
MAX_ALIGNMENT: Final = 1 << 20
MAX_ELEMENTS: Final = (1 << 63) - 1
MAX_WORD_BYTES: Final = 1 << 20
"""Of one string in an array. Single strings (a chat template) are bounded by the header alone."""

LEAST_TENSOR_BYTES: Final = 8 + 4 + 4 + 8
LEAST_KEY_BYTES: Final = 8 + 1 + 4 + 1

_U32: Final = FORMS[ValueType.UINT32]
_U64: Final = FORMS[ValueType.UINT64]
_CONVERT_AGAIN: Final = "Use another conversion of the model."


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor. `shape` is innermost first, as the file has it: (columns, rows, ...).

    `offset` counts from the start of the data section.
    """

    name: str
    shape: tuple[int, ...]
    type: TensorType
    offset: int
    elements: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Header:
    """What a file says before its data. `raw` are its bytes up to the data section.

    `size_bytes` is the size of the whole file; where nobody knows it, up to the last tensor's end.
    """

    name: str
    version: int
    alignment: int
    metadata: Metadata
    tensors: tuple[Tensor, ...]
    data_offset: int
    size_bytes: int
    raw: bytes


@dataclass(frozen=True, slots=True)
class Beginning:
    """What the first bytes of a file tell: how many tensors it has, and those keys among the first
    whose values are texts or whole numbers."""

    tensor_count: int
    texts: Mapping[str, str]
    counts: Mapping[str, int]


def parse_file(path: Path) -> Header:
    """The header of a file on this disk. Raises: ModelMalformed, ModelUnusable (unreadable)."""
    try:
        with path.open("rb") as stream:
            size = stream.seek(0, 2)

            def read(offset: int, length: int) -> bytes:
                stream.seek(offset)
                return stream.read(length)

            return parse(read, size, str(path))
    except OSError as error:
        raise ModelUnusable(
            f"{path} cannot be read: {error.strerror or error}.", hint="Check the path."
        ) from error


def parse(read: Read, size_bytes: int | None, name: str) -> Header:
    """The header of a file of `size_bytes` (None: unknown) called `name` in messages.

    Raises: ModelMalformed, and whatever `read` raises.
    """
    walk = Walk(read, size_bytes, name)
    version = _version(walk)
    tensor_count = _count(walk, "tensors", MAX_TENSORS, LEAST_TENSOR_BYTES)
    key_count = _count(walk, "keys", MAX_KEYS, LEAST_KEY_BYTES)
    values = dict(_values(walk, key_count))
    alignment = _alignment(walk, values)
    tensors = tuple(_tensor(walk, index) for index in range(tensor_count))
    _check_names(walk, tensors)
    data_offset = _padded(walk.position, alignment) if tensors else walk.position
    end = _check_layout(walk, tensors, alignment, data_offset)
    walk.need(data_offset, "the padding before the data")
    raw = bytes(walk.buffer[:data_offset])
    return Header(
        name=name,
        version=version,
        alignment=alignment,
        metadata=Metadata(name, values, raw),
        tensors=tensors,
        data_offset=data_offset,
        size_bytes=end if size_bytes is None else size_bytes,
        raw=raw,
    )


def parse_beginning(start: bytes, name: str) -> Beginning:
    """What the first bytes of a file say, as far as they go and are well-formed.

    Raises: ModelMalformed, where they are no beginning of a GGUF file.
    """
    walk = Walk(lambda offset, length: start[offset : offset + length], None, name)
    _version(walk)
    tensor_count = _count(walk, "tensors", MAX_TENSORS, LEAST_TENSOR_BYTES)
    key_count = _count(walk, "keys", MAX_KEYS, LEAST_KEY_BYTES)
    values: dict[str, Scalar | Array] = {}
    with contextlib.suppress(ModelMalformed):  # what came before the bytes end is there
        values.update(_values(walk, key_count))
    return Beginning(
        tensor_count,
        texts={key: value for key, value in values.items() if isinstance(value, str)},
        counts={key: value for key, value in values.items() if type(value) is int},
    )


def _version(walk: Walk) -> int:
    if walk.size_bytes == 0:
        raise walk.malformed("the file is empty.")
    magic = walk.take(len(MAGIC), "the magic number")
    if magic != MAGIC:
        hint = "Models in other formats must be converted to GGUF first."
        if magic == MAGIC[::-1]:
            hint = "It was written by a big-endian machine; llama.cpp reads little-endian ones."
        problem = f"this is not a GGUF file: it begins with {magic!r}, not {MAGIC!r}."
        raise walk.malformed(problem, hint=hint)
    version = walk.unpack(_U32, "the version")
    if version in VERSIONS:
        return version
    problem = f"version {version} of GGUF is not one of those that llama.cpp reads (2 and 3)."
    if version == 1:
        raise walk.malformed(problem, hint=f"It is from 2023. {_CONVERT_AGAIN}")
    swapped = int.from_bytes(version.to_bytes(4, "little"), "big")
    if swapped in (1, *VERSIONS):
        raise walk.malformed(
            f"the file is big-endian (its version reads {version:#010x}, which is {swapped} with"
            " the bytes swapped).",
            hint="Convert it with gguf-convert-endian, or use another conversion of the model.",
        )
    raise walk.malformed(problem, hint="Is it damaged, or made for a newer llama.cpp?")


def _count(walk: Walk, what: str, most: int, least_bytes: int) -> int:
    count = walk.unpack(_U64, f"the number of {what}")
    if count > most:
        raise walk.malformed(f"it says that it has {count} {what}; at most {most} are read.")
    if count * least_bytes > walk.left():
        raise walk.malformed(
            f"it says that it has {count} {what}, which take at least {count * least_bytes}"
            f" bytes, and {walk.left()} bytes are left."
        )
    return count


def _values(walk: Walk, count: int) -> Iterator[tuple[str, Scalar | Array]]:
    """The keys with their values, in the file's order."""
    seen: set[str] = set()
    for index in range(count):
        key = _name(walk, f"key {index}", MAX_KEY_BYTES)
        if key in seen:
            raise walk.malformed(f"the key {key} is there twice.", hint=_CONVERT_AGAIN)
        seen.add(key)
        kind = _value_type(walk, key)
        yield key, _array(walk, key) if kind is ValueType.ARRAY else _scalar(walk, key, kind)


def _name(walk: Walk, what: str, most_bytes: int) -> str:
    """A key or a tensor's name."""
    length = walk.unpack(_U64, f"the length of the name of {what}")
    if not 0 < length <= most_bytes:
        raise walk.malformed(
            f"the name of {what} has {length} bytes; from 1 to {most_bytes} are allowed."
        )
    taken = walk.take(length, f"the name of {what}")
    try:
        return taken.decode("utf-8")
    except UnicodeDecodeError:
        raise walk.malformed(f"the name of {what} is not UTF-8: {taken[:60]!r}.") from None


def _value_type(walk: Walk, key: str) -> ValueType:
    number = walk.unpack(_U32, f"the type of {key}")
    if number >= len(ValueType):
        raise walk.malformed(f"the value of {key} has the unknown type {number} (0 to 12 exist).")
    return ValueType(number)


def _scalar(walk: Walk, key: str, kind: ValueType) -> Scalar:
    if kind is ValueType.STRING:
        return _text(walk, key)
    form = FORMS[kind]
    taken = walk.take(form.size, f"the value of {key}")
    if kind is ValueType.BOOL and taken[0] > 1:
        raise walk.malformed(f"the value of {key} is neither 0 nor 1 but {taken[0]}.")
    value = form.unpack(taken)[0]
    assert isinstance(value, bool | int | float)
    return value


def _text(walk: Walk, key: str) -> str:
    length = walk.unpack(_U64, f"the length of {key}")
    if length > walk.left():
        raise walk.malformed(f"the text of {key} has {length} bytes; {walk.left()} are left.")
    taken = walk.take(length, f"the text of {key}")
    try:
        return taken.decode("utf-8")
    except UnicodeDecodeError as error:
        raise walk.malformed(
            f"the text of {key} is not UTF-8: byte {error.start} of {length} is"
            f" {taken[error.start]:#04x}.",
            hint=_CONVERT_AGAIN,
        ) from None


def _array(walk: Walk, key: str) -> Array:
    kind = _value_type(walk, key)
    if kind is ValueType.ARRAY:
        problem = f"{key} is an array of arrays, which llama.cpp does not read."
        raise walk.malformed(problem, hint=_CONVERT_AGAIN)
    length = walk.unpack(_U64, f"the length of the array {key}")
    size = _U64.size if kind is ValueType.STRING else FORMS[kind].size
    if length * size > walk.left():
        raise walk.malformed(
            f"the array {key} has {length} elements of at least {size} bytes; {walk.left()} bytes"
            " are left."
        )
    start = walk.position
    if kind is ValueType.STRING:
        _pass_strings(walk, key, length)
    else:
        walk.need(start + length * size, f"the array {key}")
        walk.position = start + length * size
    return Array(kind, length, start, walk.position)


def _pass_strings(walk: Walk, key: str, count: int) -> None:
    """Move past `count` strings, looking at their lengths only."""
    unpack: Callable[[bytearray, int], tuple[int]] = _U64.unpack_from
    position, buffer, left = walk.position, walk.buffer, count
    while left:
        try:
            while left:
                length = unpack(buffer, position)[0]
                if length > MAX_WORD_BYTES:
                    walk.position = position
                    raise walk.malformed(
                        f"element {count - left} of {key} has {length} bytes; at most"
                        f" {MAX_WORD_BYTES} are read."
                    )
                position += 8 + length
                left -= 1
        except struct.error:  # its length is not fetched yet
            walk.position = min(position, len(buffer))
            walk.need(position + 8, f"element {count - left} of {key}")
    walk.need(position, f"the last element of {key}")
    walk.position = position


def _alignment(walk: Walk, values: dict[str, Scalar | Array]) -> int:
    alignment = values.get("general.alignment", DEFAULT_ALIGNMENT)
    if not isinstance(alignment, int) or isinstance(alignment, bool):
        raise walk.malformed("general.alignment must be a whole number.", hint=_CONVERT_AGAIN)
    if not 0 < alignment <= MAX_ALIGNMENT or alignment & (alignment - 1):
        raise walk.malformed(
            f"general.alignment is {alignment}; it must be a power of two up to {MAX_ALIGNMENT}."
        )
    return alignment


def _tensor(walk: Walk, index: int) -> Tensor:
    name = _name(walk, f"tensor {index}", MAX_TENSOR_NAME_BYTES)
    dimensions = walk.unpack(_U32, f"the number of dimensions of {name}")
    if dimensions > MAX_DIMENSIONS:
        raise walk.malformed(
            f"the tensor {name} has {dimensions} dimensions; at most {MAX_DIMENSIONS} exist."
        )
    shape = tuple(walk.unpack(_U64, f"the shape of {name}") for _ in range(dimensions))
    kind = _tensor_type(walk, name)
    elements = _elements(walk, name, shape)
    row = shape[0] if shape else 1
    if row % kind.block_size:
        raise walk.malformed(
            f"the tensor {name} has rows of {row} weights, not a multiple of the"
            f" {kind.block_size} of a {kind.name} block."
        )
    size_bytes = kind.row_bytes(elements)
    if size_bytes > MAX_ELEMENTS:
        raise walk.malformed(f"the tensor {name} takes {size_bytes} bytes; no file is that large.")
    offset = walk.unpack(_U64, f"the offset of {name}")
    return Tensor(name, shape, kind, offset, elements, size_bytes)


def _tensor_type(walk: Walk, name: str) -> TensorType:
    number = walk.unpack(_U32, f"the type of {name}")
    if number in TENSOR_TYPES:
        return TENSOR_TYPES[number]
    if number in REMOVED_TYPES:
        raise walk.malformed(
            f"the tensor {name} is stored as {REMOVED_TYPES[number]}, which llama.cpp no longer"
            " reads.",
            hint="Use another quantization of the model; Q4_0 or IQ4_NL replaces it.",
        )
    raise walk.malformed(
        f"the tensor {name} has the unknown type {number}; this llama.cpp knows types up to"
        f" {max(TENSOR_TYPES)}.",
        hint="Is the file damaged, or made for a newer llama.cpp?",
    )


def _elements(walk: Walk, name: str, shape: tuple[int, ...]) -> int:
    elements = 1
    for size in shape:
        elements *= size
        if not 0 < elements <= MAX_ELEMENTS:
            raise walk.malformed(
                f"the tensor {name} has the impossible shape {' x '.join(map(str, shape))}."
            )
    return elements


def _check_names(walk: Walk, tensors: tuple[Tensor, ...]) -> None:
    seen: set[str] = set()
    for tensor in tensors:
        if tensor.name in seen:
            raise walk.malformed(f"the tensor {tensor.name} is there twice.", hint=_CONVERT_AGAIN)
        seen.add(tensor.name)


def _check_layout(walk: Walk, tensors: tuple[Tensor, ...], alignment: int, data_offset: int) -> int:
    """The byte after the last tensor. llama.cpp wants them in order and without gaps."""
    expected = end = 0
    for tensor in tensors:
        if tensor.offset % alignment:
            raise walk.malformed(
                f"the tensor {tensor.name} is misaligned: its offset {tensor.offset} is not a"
                f" multiple of {alignment}."
            )
        if tensor.offset != expected:
            how = "overlaps the one before it" if tensor.offset < expected else "leaves a gap"
            raise walk.malformed(
                f"the tensor {tensor.name} {how}: its offset is {tensor.offset}, and {expected}"
                " comes next."
            )
        end = tensor.offset + tensor.size_bytes
        expected = _padded(end, alignment)
    total = data_offset + end
    if walk.size_bytes is not None and total > walk.size_bytes:
        last = next(t for t in tensors if data_offset + t.offset + t.size_bytes > walk.size_bytes)
        raise walk.malformed(
            f"the file is cut off: it has {walk.size_bytes} of {total} bytes, so"
            f" {total - walk.size_bytes} are missing; {last.name} is the first tensor that is not"
            " whole."
        )
    return total


def _padded(position: int, alignment: int) -> int:
    return -(-position // alignment) * alignment
