"""The list of samplers that clients of llama-server send, as a choice among our filters.

The order of the filters is fixed, and it is llama-server's own: a list that keeps to it is
followed, what it does not name is switched off. Another order would give other tokens, so it is
refused.
`dry`, `xtc`, `top_n_sigma` and `adaptive_p` may stand in it; what switches them on is refused where
it is asked for. Pure; any thread.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from localserve.chat import Sampling
from localserve.errors import InvalidRequest, UnsupportedField

MAX_SAMPLERS = 32
"""In one list."""

ORDER = (
    "penalties",
    "dry",
    "top_n_sigma",
    "top_k",
    "typ_p",
    "top_p",
    "min_p",
    "xtc",
    "infill",
    "temperature",
    "adaptive_p",
)

_LETTERS = dict(zip("edskypmxita", ORDER, strict=True))

_OTHER_NAMES = {"nucleus": "top_p", "temp": "temperature", "typ": "typ_p", "typical": "typ_p"}
_OTHER_NAMES |= {name.replace("_", mark): name for name in ORDER for mark in ("-", "")}


def read_samplers(given: str | Sequence[str]) -> tuple[str, ...]:
    """The names, from a list of them or from one letter for each. Source: llama.cpp's sampling.cpp.

    Raises: InvalidRequest, UnsupportedField.
    """
    letters = isinstance(given, str)
    names: list[str] = []
    for one in given:
        name = _LETTERS.get(one) if letters else _OTHER_NAMES.get(one, one)
        if name not in ORDER:
            raise InvalidRequest(
                f"There is no sampler {one!r}.",
                param="samplers",
                hint=f"There are {', '.join(ORDER)}.",
            )
        names.append(name)
    rank = [ORDER.index(name) for name in names if name != "infill"]
    if rank != sorted(set(rank)):
        raise UnsupportedField(
            f"The samplers are in the order {', '.join(names)}; filters apply in the order"
            f" {', '.join(ORDER)}.",
            param="samplers",
            hint="Send them in this order, each once, or leave the list out.",
        )
    return tuple(names)


def select(sampling: Sampling, names: Sequence[str]) -> Sampling:
    """The settings with everything switched off that the list does not name."""
    off: dict[str, float | int] = {}
    if "penalties" not in names:
        off |= {"repeat_penalty": 1.0, "frequency_penalty": 0.0, "presence_penalty": 0.0}
    for name, field, value in (
        ("top_k", "top_k", 0),
        ("typ_p", "typical_p", 1.0),
        ("top_p", "top_p", 1.0),
        ("min_p", "min_p", 0.0),
        ("temperature", "temperature", 1.0),
    ):
        if name not in names:
            off[field] = value
    return replace(sampling, sure_only="infill" in names, **off)  # type: ignore[arg-type]


def active(sampling: Sampling) -> list[str]:
    """The names of what applies, in order."""
    names = ["penalties", "top_k", "typ_p", "top_p", "min_p"]
    return [*names, *(["infill"] if sampling.sure_only else []), "temperature"]
