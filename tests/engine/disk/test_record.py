"""One file: what is written is read again, and nothing else ever is."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from localserve.engine.disk.record import (
    Damaged,
    Part,
    Payload,
    Record,
    key_of,
    read_payloads,
    read_record,
    root_key,
    write_record,
)
from tests.engine.rig import token_array

MINE, OTHER = b"m" * 16, b"o" * 16


def payload(*values: int) -> Payload:
    return np.array(values, np.uint8)


STATE, CHECKPOINT = payload(*range(40)), payload(7, 8, 9)
RECORD = Record(
    parent=root_key(MINE, "someone"),
    start=0,
    tokens=token_array(5, 6, 7, 100_000),
    parts=(Part(4, len(STATE)), Part(2, len(CHECKPOINT))),
)


def written(record: Record = RECORD) -> bytes:
    stream = io.BytesIO()
    write_record(stream, MINE, record, [STATE, CHECKPOINT])
    return stream.getvalue()


def read_all(data: bytes, namespace: bytes = MINE) -> list[Payload]:
    """As a server does: the head when it starts, the rest when it is needed."""
    record = read_record(io.BytesIO(data), namespace)
    return read_payloads(io.BytesIO(data), namespace, record)


def test_what_was_written_is_read_again() -> None:
    found = read_record(io.BytesIO(written()), MINE)
    assert (found.parent, found.start, found.parts) == (RECORD.parent, 0, RECORD.parts)
    assert found.tokens.tolist() == RECORD.tokens.tolist()
    assert (found.key, found.end, found.size_bytes) == (RECORD.key, 4, 43)
    state, checkpoint = read_all(written())
    assert state.tolist() == STATE.tolist()
    assert checkpoint.tolist() == CHECKPOINT.tolist()


@given(st.data())
def test_a_change_of_any_byte_is_noticed(data: st.DataObject) -> None:
    whole = written()
    at = data.draw(st.integers(0, len(whole) - 1))
    changed = bytearray(whole)
    changed[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(Damaged):
        read_all(bytes(changed))


def test_a_change_of_any_single_bit_is_noticed() -> None:
    whole = written()
    for bit in range(8 * len(whole)):
        changed = bytearray(whole)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(Damaged):
            read_all(bytes(changed))


def test_a_file_that_is_cut_off_or_goes_on_is_noticed() -> None:
    whole = written()
    for length in range(len(whole)):
        with pytest.raises(Damaged):
            read_all(whole[:length])
    with pytest.raises(Damaged):
        read_all(whole + b"\0")


@given(st.binary(max_size=200))
def test_any_bytes_are_no_record(data: bytes) -> None:
    for beginning in (b"", written()[:8]):
        with pytest.raises(Damaged):
            read_all(beginning + data)


def test_the_record_of_another_model_or_version_is_not_read() -> None:
    with pytest.raises(Damaged, match="another model"):
        read_record(io.BytesIO(written()), OTHER)


def test_a_file_that_has_become_another_record_is_not_taken_for_the_first() -> None:
    other = written(replace(RECORD, tokens=token_array(5, 6, 7, 8)))
    with pytest.raises(Damaged, match="another record"):
        read_payloads(io.BytesIO(other), MINE, RECORD)


def test_keys_depend_on_scope_model_tokens_and_what_comes_before() -> None:
    roots = {root_key(MINE, "one"), root_key(MINE, "two"), root_key(OTHER, "one")}
    assert len(roots) == 3
    keys = {key_of(root, token_array(*tokens)) for root in roots for tokens in ((1, 2), (1, 3))}
    assert len(keys) == 6
    first, second = token_array(1), token_array(2)
    assert key_of(key_of(MINE, first), second) != key_of(MINE, token_array(1, 2))


def test_a_file_tells_nothing_of_its_scope() -> None:
    assert b"someone" not in written()
