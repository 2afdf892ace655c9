"""Sizes as people type them."""

from __future__ import annotations

import pytest

from localserve.errors import ConfigInvalid
from localserve.planner.sizes import parse_size, parse_sizes


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("24GB", 24_000_000_000),
        ("24 GiB", 24 << 30),
        ("512mib", 512 << 20),
        ("7.5gb", 7_500_000_000),
        (" 1TiB ", 1 << 40),
    ],
)
def test_a_size_has_a_unit_of_ten_or_of_two(text: str, size: int) -> None:
    assert parse_size(text, "--ram") == size


@pytest.mark.parametrize(
    "text", ["", "24", "24G", "GB", "-1GB", "0GB", "1e3GB", "24GB,", "24 kB", "9999999TiB", "١GB"]
)
def test_anything_else_is_refused_with_examples(text: str) -> None:
    with pytest.raises(ConfigInvalid) as caught:
        parse_size(text, "--ram")
    assert "--ram" in str(caught.value)
    assert "24GB" in caught.value.hint


def test_commas_part_gpus() -> None:
    assert parse_sizes("24GB, 8GiB", "--gpu") == (24_000_000_000, 8 << 30)
    with pytest.raises(ConfigInvalid):
        parse_sizes("24GB,,8GB", "--gpu")
    with pytest.raises(ConfigInvalid, match="17 GPUs"):
        parse_sizes(",".join(["1GB"] * 17), "--gpu")
