"""The samplers that clients of llama-server name."""

from __future__ import annotations

import pytest

from localserve.chat import DEFAULT_SAMPLING, Sampling
from localserve.dialects.samplers import active, read_samplers, select
from localserve.errors import InvalidRequest, UnsupportedField


def test_letters_are_names() -> None:
    """As llama.vscode sends them: llama-server's whole chain."""
    assert read_samplers("edkypmxt") == (
        *("penalties", "dry", "top_k", "typ_p", "top_p", "min_p", "xtc", "temperature"),
    )


def test_names_may_be_written_otherwise() -> None:
    assert read_samplers(["top-k", "typical", "topp", "temp"]) == (
        *("top_k", "typ_p", "top_p", "temperature"),
    )


def test_what_the_list_does_not_name_is_off() -> None:
    asked = Sampling(top_k=40, top_p=0.99, min_p=0.1, temperature=0.5, repeat_penalty=1.1)
    chosen = select(asked, read_samplers(["top_k", "top_p", "infill"])).over(DEFAULT_SAMPLING)
    assert (chosen.top_k, chosen.top_p, chosen.sure_only) == (40, 0.99, True)
    assert (chosen.min_p, chosen.temperature, chosen.repeat_penalty) == (0.0, 1.0, 1.0)


def test_what_the_list_names_keeps_its_value_or_the_models() -> None:
    chosen = select(Sampling(temperature=0.5), read_samplers(["min_p", "temperature"]))
    assert (chosen.temperature, chosen.min_p) == (0.5, None)
    assert (chosen.top_k, chosen.sure_only) == (0, False)


def test_an_empty_list_draws_from_all_tokens() -> None:
    chosen = select(Sampling(top_k=5), read_samplers([])).over(DEFAULT_SAMPLING)
    assert (chosen.top_k, chosen.top_p, chosen.min_p, chosen.temperature) == (0, 1.0, 0.0, 1.0)


@pytest.mark.parametrize("names", [["top_p", "top_k"], ["temperature", "top_k"], ["top_k"] * 2])
def test_another_order_is_refused(names: list[str]) -> None:
    with pytest.raises(UnsupportedField, match="order") as caught:
        read_samplers(names)
    assert caught.value.param == "samplers"


@pytest.mark.parametrize("given", [["top_x"], "q", ["topK"]])
def test_an_unknown_name_is_refused(given: str | list[str]) -> None:
    with pytest.raises(InvalidRequest, match="There is no sampler"):
        read_samplers(given)


def test_infill_may_stand_anywhere() -> None:
    assert read_samplers(["infill", "top_k", "temperature"])[0] == "infill"


def test_what_applies_is_told_in_order() -> None:
    assert active(DEFAULT_SAMPLING)[-1] == "temperature"
    assert "infill" in active(select(Sampling(), ["infill"]))
