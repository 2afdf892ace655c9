"""The forms of `logit_bias`."""

from __future__ import annotations

import pytest

from localserve.dialects.biases import MAX_BIASES, Biases, read_biases
from localserve.errors import InvalidSchema


def test_an_object_has_ids_and_texts() -> None:
    assert read_biases({"15": -100, " the": 1.5}) == Biases(((15, -100.0),), ((" the", 1.5),))


def test_a_list_has_pairs_of_either() -> None:
    assert read_biases([[15, 1], ["a", -0.5], [7, False]]) == Biases(
        ((15, 1.0), (7, -100.0)), (("a", -0.5),)
    )


def test_none_is_none() -> None:
    assert read_biases(None) == read_biases({}) == read_biases([]) == Biases()


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ("a", "logit_bias"),
        (7, "logit_bias"),
        ([7], "logit_bias.0"),
        ([[7]], "logit_bias.0"),
        ([[7, 1, 1]], "logit_bias.0"),
        ([[True, 1]], "logit_bias.0"),
        ([[-1, 1]], "logit_bias.0"),
        ([[1 << 31, 1]], "logit_bias.0"),
        ([[1.5, 1]], "logit_bias.0"),
        ([[7, True]], "logit_bias.0"),
        ([[7, "a"]], "logit_bias.0"),
        ([[7, 101]], "logit_bias.0"),
        ([[7, float("nan")]], "logit_bias.0"),
        ([["a" * 1001, 1]], "logit_bias.0"),
        ({"7": 101}, "logit_bias.7"),
        ({str(key): 1 for key in range(MAX_BIASES + 1)}, "logit_bias"),
    ],
)
def test_what_is_no_bias_is_refused_with_its_place(given: object, field: str) -> None:
    with pytest.raises(InvalidSchema) as caught:
        read_biases(given)
    assert caught.value.param == field
