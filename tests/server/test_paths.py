"""Paths as clients write them."""

from __future__ import annotations

import pytest

from localserve.server.paths import normal_path


@pytest.mark.parametrize(
    ("path", "normal"),
    [
        ("/", "/"),
        ("", "/"),
        ("//", "/"),
        ("//v1//models/", "/v1/models"),
        ("/v1/models/org/name", "/v1/models/org/name"),
        ("v1", "/v1"),
    ],
)
def test_slashes_that_mean_nothing_are_left_out(path: str, normal: str) -> None:
    assert normal_path(path) == normal
