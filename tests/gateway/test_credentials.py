"""Keys in headers: where they are found, and that no header breaks the search."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localserve.gateway.credentials import HEADERS, presented_keys
from tests.gateway.conftest import UNHURRIED


@pytest.mark.parametrize(
    ("headers", "found"),
    [
        ([(b"authorization", b"Bearer abc")], (b"abc",)),
        ([(b"Authorization", b"bearer   abc ")], (b"abc",)),
        ([(b"authorization", b"BEARER\tabc")], ()),
        ([(b"x-api-key", b" abc ")], (b"abc",)),
        ([(b"api-key", b"abc")], (b"abc",)),
        ([(b"authorization", b"Basic abc")], ()),
        ([(b"authorization", b"Bearer")], ()),
        ([(b"authorization", b"Bearer ")], ()),
        ([(b"authorization", b"abc")], ()),
        ([(b"x-api-key", b"")], ()),
        ([(b"authorization", b"Bearer a"), (b"x-api-key", b"b"), (b"api-key", b"a")], (b"a", b"b")),
        ([(b"x-api-key", b"first"), (b"x-api-key", b"second")], (b"first",)),
        ([(b"cookie", b"api-key=abc")], ()),
    ],
)
def test_a_key_is_found_where_clients_put_it(
    headers: list[tuple[bytes, bytes]], found: tuple[bytes, ...]
) -> None:
    assert presented_keys(headers) == found


names = st.sampled_from([*HEADERS, b"Authorization", b"X-API-Key", b"host"])
values = st.binary(max_size=40) | st.builds(
    lambda scheme, gap, key: scheme + gap + key,
    st.sampled_from([b"Bearer", b"bearer", b"Basic", b""]),
    st.sampled_from([b"", b" ", b"  ", b"\t"]),
    st.binary(max_size=20),
)


@UNHURRIED
@given(st.lists(st.tuples(names, values), max_size=8))
def test_whatever_comes_few_and_distinct_keys_are_found_each_a_part_of_a_header(
    headers: list[tuple[bytes, bytes]],
) -> None:
    found = presented_keys(headers)
    assert len(found) == len(set(found)) <= len(HEADERS)
    for key in found:
        assert key
        assert key == key.strip(b" \t")
        assert any(key in value for name, value in headers if name.lower() in HEADERS)


@UNHURRIED
@given(st.binary(min_size=1, max_size=60).filter(lambda key: key == key.strip(b" \t")))
def test_every_key_is_found_again_in_each_header(key: bytes) -> None:
    for headers in (
        [(b"authorization", b"Bearer " + key)],
        [(b"x-api-key", key)],
        [(b"api-key", key)],
    ):
        assert presented_keys(headers) == (key,)
